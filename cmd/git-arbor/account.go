package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/git-arbor/arbor/config"
	"github.com/git-arbor/arbor/xmpp"
)

type accountOptions struct {
	passwordFile string
	register     bool
	token        string
	server       string
	directTLS    bool
	caFile       string
	shared       bool
	name         string
}

func newAccountCommand(a *app) *cobra.Command {
	var opts accountOptions
	cmd := &cobra.Command{
		Use:   "account JID",
		Short: "Set the Jabber account of this machine",
		Long: `Set the Jabber account of this machine. The password is asked for on the terminal, or read from --password-file, and kept
in a file beside the configuration that only you can read. It is not tried out: git arbor doctor does that. Give each
machine its own account. For the account that is set already, what no option names stays as it is.

With --register the account is made on the server first, which must allow that. Without a password one is made up then.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAccount(cmd.Context(), a, args[0], opts, cmd.Flags().Changed)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.passwordFile, "password-file", "", "read the password from this file; - is standard input")
	f.BoolVar(&opts.register, "register", false, "make the account on the server")
	f.StringVar(&opts.token, "token", "", "with --register, what the server wants to be shown first")
	f.StringVar(&opts.server, "server", "", "connect to this host:port (default what the domain's SRV records say)")
	f.BoolVar(&opts.directTLS, "direct-tls", false, "with --server, speak TLS from the first byte")
	f.StringVar(&opts.caFile, "ca-file", "", "trust the certificates in this PEM file, not the system's")
	f.StringVar(&opts.name, "name", "", "call this machine so (default its host name)")
	f.BoolVar(&opts.shared, "shared", false, "you also chat from this account")
	return cmd
}

// runAccount sets the account. given tells which options were on the command line.
func runAccount(ctx context.Context, a *app, jid string, opts accountOptions, given func(string) bool) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	account := config.Account{
		JID: jid, Name: opts.name, Server: opts.server, DirectTLS: opts.directTLS, Shared: opts.shared,
		PasswordFile: passwordName(jid),
	}
	if opts.caFile != "" {
		if account.CAFile, err = filepath.Abs(opts.caFile); err != nil {
			return fmt.Errorf("find certificates: %w", err)
		}
	}
	conf, err := config.Load(paths.Config)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if conf != nil && strings.EqualFold(conf.Account.JID, jid) {
		keepSettings(&account, conf.Account, given)
	}
	if err := account.Check(); err != nil {
		return err
	}
	kept := filepath.Join(filepath.Dir(paths.Config), account.PasswordFile)
	password, err := readPassword(ctx, a, kept, jid, opts)
	if err != nil {
		return err
	}
	if opts.register {
		if opts.passwordFile == "" {
			// One that was made up must not be lost when something fails after the account is made.
			if err := config.WritePassword(kept, password); err != nil {
				return err
			}
		}
		if err := register(ctx, a, account, password, opts.token); err != nil {
			return err
		}
	}
	if err := config.WritePassword(kept, password); err != nil {
		return err
	}
	if err := config.SetAccount(paths.Config, account); err != nil {
		return err
	}
	if _, err := a.reload(ctx); err != nil {
		return err
	}
	done := "is the account of this machine"
	if opts.register {
		done = "is made, and is the account of this machine"
	}
	_, err = fmt.Fprintf(a.stdout, "%s %s\n", oneLine(jid), done)
	return err
}

// keepSettings takes over from the account that is set what no option names.
func keepSettings(account *config.Account, old config.Account, given func(string) bool) {
	if !given("name") {
		account.Name = old.Name
	}
	if !given("server") {
		account.Server = old.Server
	}
	if !given("direct-tls") {
		account.DirectTLS = old.DirectTLS && account.Server == old.Server
	}
	if !given("ca-file") {
		account.CAFile = old.CAFile
	}
	if !given("shared") {
		account.Shared = old.Shared
	}
}

// passwordName names the file of an account's password: one each, so that a failed change loses none.
func passwordName(jid string) string {
	return "password-" + strings.ToLower(jid)
}

// readPassword gets the password from the file, the terminal, or, for an account to be made, from a former attempt or from chance.
func readPassword(ctx context.Context, a *app, kept, jid string, opts accountOptions) (string, error) {
	switch {
	case opts.passwordFile == "-":
		return firstLine(a.stdin)
	case opts.passwordFile != "":
		f, err := os.Open(opts.passwordFile)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		defer f.Close()
		return firstLine(f)
	case opts.register:
		f, err := os.Open(kept)
		if errors.Is(err, fs.ErrNotExist) {
			return rand.Text(), nil
		}
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		defer f.Close()
		return firstLine(f)
	default:
		return askPassword(ctx, a, jid)
	}
}

func firstLine(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

func askPassword(ctx context.Context, a *app, jid string) (string, error) {
	fd := int(a.stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", &hinted{errors.New("standard input is no terminal to ask for the password on"), "--password-file FILE, or --password-file -"}
	}
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for the password: %w", err)
	}
	fmt.Fprintf(a.stderr, "Password of %s: ", oneLine(jid))
	defer fmt.Fprintln(a.stderr)
	type answer struct {
		password []byte
		err      error
	}
	// A read from a terminal cannot be called off: on a signal it is left behind, and the process ends.
	answers := make(chan answer, 1)
	go func() {
		password, err := term.ReadPassword(fd)
		answers <- answer{password, err}
	}()
	select {
	case got := <-answers:
		if got.err != nil {
			return "", fmt.Errorf("ask for the password: %w", got.err)
		}
		return string(got.password), nil
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), term.Restore(fd, before))
	}
}

func register(ctx context.Context, a *app, account config.Account, password, token string) error {
	roots, err := account.RootCAs()
	if err != nil {
		return err
	}
	err = xmpp.Register(ctx, xmpp.Options{
		JID:       account.JID,
		Password:  func(context.Context) (string, error) { return password, nil },
		Resource:  "register",
		Server:    account.Server,
		DirectTLS: account.DirectTLS,
		RootCAs:   roots,
		Log:       newVerbLog(a, false),
	}, token)
	if err != nil {
		return &hinted{fmt.Errorf("make the account: %w", err), registerHint(err, token)}
	}
	return nil
}

// registerHint says what to try after an account was not made.
func registerHint(err error, token string) string {
	if errors.Is(err, xmpp.ErrAccountExists) {
		return "if it is yours, leave out --register"
	}
	if _, ok := errors.AsType[*xmpp.Refused](err); ok {
		if token != "" {
			return "is the token right?"
		}
		return "the server may want a --token, or lets nobody make accounts this way: then make it as the server says, and leave out --register"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "for a server with an authority of its own: --ca-file FILE"
	}
	return "is the address right? --server HOST:PORT gives another, --direct-tls is for a port that speaks TLS at once"
}

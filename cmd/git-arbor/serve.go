package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/xmpp/xmppserver"
)

type serveOptions struct {
	domain    string
	dir       string
	listen    string
	listenTLS string
	cert, key string
	token     string
	verbose   bool
}

func newServeCommand(a *app) *cobra.Command {
	var opts serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a small XMPP server for a demo, a LAN or a home",
		Long: `Run a small XMPP server until it is stopped. It is meant for a demo, a LAN or a home: it has one domain, talks to no other
server, and lets whoever has its token make an account. For anything else use a real one, such as ejabberd or Prosody.

Without a certificate it makes an authority of its own, whose ca.pem the other machines need.`,
		Args: cobra.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runServe(cmd.Context(), a, opts)
		},
	}
	add := &cobra.Command{
		Use:   "add USER",
		Short: "Make an account on the server while it is stopped",
		Long: `Make an account on the server while it is stopped. While it runs, machines make their own accounts with the token that
git arbor serve prints.`,
		Args: cobra.ExactArgs(1),
	}
	passwordFile := add.Flags().String("password-file", "", "read the password from this file; - is standard input")
	add.RunE = func(cmd *cobra.Command, args []string) error {
		return runServeAdd(cmd.Context(), a, opts, args[0], *passwordFile)
	}
	f := cmd.PersistentFlags()
	f.StringVar(&opts.domain, "domain", "", "the part after the @ of every account (default this machine's name)")
	f.StringVar(&opts.dir, "dir", "", "where the server keeps its accounts (default beside the agent's state)")
	f.StringVar(&opts.cert, "cert", "", "PEM file of the certificate and its chain (default a certificate of an own authority)")
	f.StringVar(&opts.key, "key", "", "PEM file of the certificate's key")
	cmd.MarkFlagsRequiredTogether("cert", "key")
	f = cmd.Flags()
	f.StringVar(&opts.listen, "listen", ":5222", "host:port for STARTTLS; empty for none")
	f.StringVar(&opts.listenTLS, "listen-tls", ":5223", "host:port for direct TLS; empty for none")
	f.StringVar(&opts.token, "token", "", "what a machine must show to make an account (default made once and kept)")
	f.BoolVarP(&opts.verbose, "verbose", "v", false, "log what is of use only to find a fault")
	cmd.AddCommand(add)
	return cmd
}

// complete fills in the defaults that depend on the machine, and makes the server's directory.
func (o *serveOptions) complete(a *app) error {
	paths, err := a.paths()
	if err != nil {
		return err
	}
	o.dir = cmp.Or(o.dir, filepath.Join(paths.State, "server"))
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return fmt.Errorf("find directory of the server: %w", err)
	}
	if o.domain == "" {
		if o.domain, err = os.Hostname(); err != nil {
			return fmt.Errorf("find the name of this machine: %w", err)
		}
		o.domain = strings.ToLower(o.domain)
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("make directory of the server: %w", err)
	}
	return nil
}

// certificate loads the one that was given, or makes one for every name and address of this machine.
func (o *serveOptions) certificate() (*tls.Config, error) {
	if o.cert != "" {
		cert, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
	}
	hosts := []string{o.domain, "localhost"}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("find addresses of this machine: %w", err)
	}
	for _, addr := range addrs {
		if ip, ok := addr.(*net.IPNet); ok && !ip.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, ip.IP.String())
		}
	}
	cert, _, err := xmppserver.SelfSigned(o.dir, hosts)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
}

// registerToken is what was asked for, or a token that is made once.
func (o *serveOptions) registerToken() (string, error) {
	if o.token != "" {
		return o.token, nil
	}
	path := filepath.Join(o.dir, "token")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data = []byte(rand.Text() + "\n")
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("keep token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func runServe(ctx context.Context, a *app, opts serveOptions) error {
	if err := opts.complete(a); err != nil {
		return err
	}
	token, err := opts.registerToken()
	if err != nil {
		return err
	}
	certificate, err := opts.certificate()
	if err != nil {
		return err
	}
	server, err := xmppserver.New(xmppserver.Options{
		Domain: opts.domain, Dir: opts.dir, TLS: certificate,
		Listen: opts.listen, ListenTLS: opts.listenTLS, RegisterToken: token, Log: newLog(a, opts.verbose),
	})
	if err != nil {
		return err
	}
	opts.announce(a, server, token)
	if err := server.Run(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// announce prints what each machine needs to use the server.
func (o *serveOptions) announce(a *app, server *xmppserver.Server, token string) {
	var to, direct string
	if addr := server.TLSAddr(); addr != "" {
		to, direct = reachable(addr, o.domain), " --direct-tls"
	} else {
		to = reachable(server.Addr(), o.domain)
	}
	var trust string
	if o.cert == "" {
		trust = " --ca-file ca.pem"
	}
	fmt.Fprintf(a.stdout, "Serving %s. This is a small server for a demo, a LAN or a home.\nOn each machine:\n", oneLine(o.domain))
	fmt.Fprintf(a.stdout, "  git arbor account NAME@%s --register --token %s --server %s%s%s\n", oneLine(o.domain), token, to, direct, trust)
	if trust != "" {
		fmt.Fprintf(a.stdout, "where ca.pem is a copy of %s\n", oneLine(filepath.Join(o.dir, "ca.pem")))
	}
}

// reachable is addr with a host that others can use in place of "all interfaces".
func reachable(addr, domain string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = domain
	}
	return net.JoinHostPort(host, port)
}

// runServeAdd opens the server's files, which a running server has locked, without serving anybody.
func runServeAdd(ctx context.Context, a *app, opts serveOptions, user, passwordFile string) error {
	if err := opts.complete(a); err != nil {
		return err
	}
	password, err := readPassword(ctx, a, "", user, accountOptions{passwordFile: passwordFile})
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("the password is empty")
	}
	certificate, err := opts.certificate()
	if err != nil {
		return err
	}
	server, err := xmppserver.New(xmppserver.Options{
		Domain: opts.domain, Dir: opts.dir, TLS: certificate, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	err = server.AddAccount(user, password)
	stopped, stop := context.WithCancel(ctx)
	stop()
	_ = server.Run(stopped) // only lets go of the files
	if err != nil {
		return fmt.Errorf("make account: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s@%s is made\n", oneLine(user), oneLine(opts.domain))
	return err
}

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/xmpp/xmppserver"
)

type demoOptions struct {
	keep bool
	json bool
}

func newDemoCommand(a *app) *cobra.Command {
	var opts demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show three machines in step, on this one",
		Long: `Show what Arbor does, with nothing but git: three agents with homes and accounts of their own, in processes of their own, on
a small XMPP server inside this command. Each line is one thing done on one machine, with the milliseconds from closing
the file until the others read the same bytes; every byte is checked. The status is 1 when anything is wrong.`,
		Args: cobra.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), a, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.keep, "keep", false, "leave it running afterwards, to play with, until it is interrupted")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print one JSON object a line")
	return cmd
}

// demo is one run.
type demo struct {
	app      *app
	opts     demoOptions
	dir      string
	machines []*machine
	files    map[string][]byte // what every clone is to have
}

func runDemo(ctx context.Context, a *app, opts demoOptions) (err error) {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	// Short, for below it are sockets.
	dir, err := os.MkdirTemp("", "arbor-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	d := &demo{app: a, opts: opts, dir: dir, files: make(map[string][]byte)}
	interrupted := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	// The server goes on until the agents have said goodbye.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	var server sync.WaitGroup
	defer func() {
		for _, m := range d.machines {
			err = errors.Join(err, m.stop())
		}
		stopServing()
		server.Wait()
		if err != nil && opts.json {
			err = errors.Join(err, writeJSON(a.stdout, failure{1, false, err.Error()}))
		}
		if err != nil || opts.keep {
			fmt.Fprintf(a.stderr, "everything is in %s, the logs of the agents in */agent.log\n", dir)
			return
		}
		err = os.RemoveAll(dir)
	}()

	account, err := d.serve(serving, fail, &server)
	if err != nil {
		return err
	}
	// git runs the program as a filter, by this name.
	bin := filepath.Join(dir, "bin")
	if err := errors.Join(os.Mkdir(bin, 0o700), os.Symlink(exe, filepath.Join(bin, "git-arbor"))); err != nil {
		return fmt.Errorf("prepare the demo: %w", err)
	}
	for _, name := range []string{"laptop", "desktop", "nas"} {
		m, err := newMachine(ctx, filepath.Join(dir, name), bin)
		if err != nil {
			return err
		}
		d.machines = append(d.machines, m)
	}
	if err := d.setUp(ctx, account); err != nil {
		return err
	}
	for _, step := range d.steps() {
		if err := d.run(ctx, step); err != nil {
			return err
		}
	}
	if err := d.audit(ctx); err != nil {
		return err
	}
	if opts.keep {
		d.invitePlaying()
		<-ctx.Done()
		if interrupted.Err() == nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// serve runs the XMPP server until ctx ends, and returns the arguments of git arbor account that make an account on it. A
// server that ends by itself ends the demo by fail.
func (d *demo) serve(ctx context.Context, fail context.CancelCauseFunc, running *sync.WaitGroup) ([]string, error) {
	dir := filepath.Join(d.dir, "server")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("prepare the demo: %w", err)
	}
	cert, ca, err := xmppserver.SelfSigned(dir, []string{"localhost", "127.0.0.1"})
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	caFile := filepath.Join(d.dir, "ca.pem")
	if err := os.WriteFile(caFile, ca, 0o600); err != nil {
		return nil, fmt.Errorf("prepare the demo: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, fmt.Errorf("prepare the demo: %w", err)
	}
	token := rand.Text()
	server, err := xmppserver.New(xmppserver.Options{
		Domain: "localhost", Dir: dir, TLS: &tls.Config{Certificates: []tls.Certificate{cert}},
		ListenTLS: "127.0.0.1:0", RegisterToken: token, Log: textLog(log, slog.LevelDebug, true),
	})
	if err != nil {
		log.Close()
		return nil, err
	}
	running.Go(func() {
		defer log.Close()
		if err := server.Run(ctx); ctx.Err() == nil {
			fail(fmt.Errorf("the XMPP server ended: %w", err))
		}
	})
	return []string{"--register", "--token", token, "--server", server.TLSAddr(), "--direct-tls", "--ca-file", caFile}, nil
}

// setUp makes the three machines a grove, by the verbs that a person uses.
func (d *demo) setUp(ctx context.Context, account []string) error {
	started := time.Now()
	for i, m := range d.machines {
		if _, err := m.arbor(ctx, append([]string{"account", m.name + "@localhost", "--name", m.name}, account...)...); err != nil {
			return err
		}
		var err error
		if i == 0 {
			_, err = m.arbor(ctx, "init", m.clone)
		} else {
			var uri string
			if uri, err = d.machines[0].arbor(ctx, "invite", d.machines[0].clone); err == nil {
				_, err = m.arbor(ctx, "join", uri, m.clone)
			}
		}
		if err == nil {
			err = m.start(ctx)
		}
		if err != nil {
			return err
		}
	}
	if err := d.allInStep(ctx); err != nil {
		return err
	}
	return d.print(result{Step: "set up three machines", total: time.Since(started)})
}

// invitePlaying says how to use what is left running.
func (d *demo) invitePlaying() {
	if d.opts.json {
		return
	}
	w := d.app.stdout
	fmt.Fprintf(w, "\nThe three agents go on until you press Ctrl-C. Save something in one of these folders:\n")
	for _, m := range d.machines {
		fmt.Fprintf(w, "  %s\n", m.clone)
	}
	fmt.Fprintf(w, "and ask for the state of a machine with, say:\n  env %s %s status\n",
		d.machines[0].settings(), filepath.Join(d.dir, "bin", "git-arbor"))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/config"
)

// checkTimeout bounds each check.
const checkTimeout = 20 * time.Second

// Results of a check. A warning is worth knowing; a fault keeps Arbor from working.
const (
	resultOK   = "ok"
	resultWarn = "warn"
	resultFail = "fail"
)

// finding is what one check found.
type finding struct {
	Name   string `json:"name"`
	Result string `json:"result"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// check is one thing to look at. run fills in the rest of the finding.
type check struct {
	name string
	run  func(context.Context) finding
}

func newDoctorCommand(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that Arbor needs on this machine",
		Long: `Check everything that Arbor needs on this machine, and say what to do where something is wrong. The status is 4 when a
check fails; warnings do not count.`,
		Args: cobra.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := a.checks(cmd.Context())
			if err != nil {
				return err
			}
			findings := runChecks(cmd.Context(), checks)
			if cmd.Context().Err() != nil {
				return context.Cause(cmd.Context())
			}
			return a.report(findings, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// runChecks runs all at the same time and keeps their order.
func runChecks(ctx context.Context, checks []check) []finding {
	findings := make([]finding, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			findings[i] = c.run(ctx)
			findings[i].Name = c.name
		})
	}
	wg.Wait()
	return findings
}

func (a *app) report(findings []finding, asJSON bool) error {
	failed := 0
	for _, f := range findings {
		if f.Result == resultFail {
			failed++
		}
	}
	var err error
	if asJSON {
		err = writeJSON(a.stdout, struct {
			Schema int       `json:"schema"`
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{1, failed == 0, findings})
	} else {
		table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		for _, f := range findings {
			fmt.Fprintf(table, "%s\t%s\t%s\n", f.Result, oneLine(f.Name), oneLine(f.Detail))
			if f.Hint != "" {
				fmt.Fprintf(table, "\t\thint: %s\n", oneLine(f.Hint))
			}
		}
		err = table.Flush()
	}
	if failed > 0 {
		err = errors.Join(err, &notReached{text: fmt.Sprintf("%d of %d checks failed", failed, len(findings))})
	}
	return err
}

// checks lists what to look at; some of it depends on the configuration and on what the running agent says.
func (a *app) checks(ctx context.Context) ([]check, error) {
	paths, err := a.paths()
	if err != nil {
		return nil, err
	}
	checks := []check{
		{"git", checkGit},
		{"git-annex", checkGitAnnex},
		{"state", func(context.Context) finding { return checkState(paths.State) }},
		{"watches", func(context.Context) finding { return checkWatches() }},
	}
	conf, confErr := config.Load(paths.Config)
	checks = append(checks, check{"configuration", func(context.Context) finding {
		if confErr != nil {
			return failed(confErr)
		}
		return finding{Result: resultOK, Detail: paths.Config}
	}})
	if conf != nil {
		checks = append(checks, check{"xmpp", func(ctx context.Context) finding { return a.checkLogin(ctx, &conf.Account) }})
		for _, clone := range conf.Clones {
			checks = append(checks, check{"clone " + clone.Name, func(ctx context.Context) finding { return checkClone(ctx, clone.Path) }})
		}
	}
	client := control.NewClient(paths.Socket)
	defer client.Close()
	snapshot, agentErr := client.Status(ctx, 0)
	checks = append(checks, check{"agent", func(context.Context) finding {
		switch {
		case agentErr != nil:
			return failed(agentErr)
		case snapshot.Agent.Version != programVersion():
			return finding{
				Result: resultWarn, Hint: "restart the agent",
				Detail: fmt.Sprintf("the running agent is version %s, this is %s", snapshot.Agent.Version, programVersion()),
			}
		default:
			return finding{Result: resultOK, Detail: fmt.Sprintf("process %d on %s", snapshot.Agent.PID, paths.Socket)}
		}
	}})
	for _, w := range snapshot.Warnings {
		checks = append(checks, check{w.Code, func(context.Context) finding {
			return finding{Result: resultWarn, Detail: warningText(snapshot.Clones, w), Hint: w.Hint}
		}})
	}
	return checks, nil
}

// failed is the finding of an error.
func failed(err error) finding {
	return finding{Result: resultFail, Detail: err.Error(), Hint: hintOf(err)}
}

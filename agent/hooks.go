package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/git-arbor/arbor/config"
)

// maxHookPaths bounds the list of changed paths in a hook's environment, in bytes: the kernel takes 128 KiB a variable.
const maxHookPaths = 64 << 10

// change is what the person's hooks are told.
type change struct {
	Clone, Path string // the clone's name and folder
	Peer        string // who brought it; empty for a change made here
	Old, New    string // commits in hex
	Paths       []string
}

// environ returns the variables of docs/configuration.md. Paths are separated by newlines; a path that contains one is
// left out, as is what does not fit, and ARBOR_PATHS_TRUNCATED says so.
func (ch change) environ(event string) []string {
	var list strings.Builder
	truncated := ""
	for _, p := range ch.Paths {
		if strings.ContainsAny(p, "\n\x00") || list.Len()+len(p) > maxHookPaths {
			truncated = "1"
			continue
		}
		list.WriteString(p)
		list.WriteByte('\n')
	}
	return []string{
		"ARBOR_EVENT=" + event, "ARBOR_CLONE=" + ch.Clone, "ARBOR_CLONE_PATH=" + ch.Path, "ARBOR_PEER=" + ch.Peer,
		"ARBOR_OLD=" + ch.Old, "ARBOR_NEW=" + ch.New, "ARBOR_PATHS=" + list.String(), "ARBOR_PATHS_TRUNCATED=" + truncated,
	}
}

// runHooks runs the person's programs one after another as changes arrive, so that a slow one delays only the next and
// never the agent. When they fall far behind, changes are dropped with a line in the log: hooks are told that
// something changed, git knows what.
func runHooks(ctx context.Context, hooks func() config.Hooks, queue <-chan hookCall, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case call := <-queue:
			if err := call.run(ctx, hooks()); err != nil && ctx.Err() == nil {
				log.Warn("hook failed", "event", call.event, "err", err)
			}
		}
	}
}

type hookCall struct {
	event string // "before" or "after"
	change
}

func (call hookCall) run(ctx context.Context, h config.Hooks) error {
	line := h.Before
	if call.event == "after" {
		line = h.After
	}
	if line == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.Timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = call.Path
	cmd.Env = append(os.Environ(), call.environ(call.event)...)
	cmd.WaitDelay = time.Second // a child of the hook may hold the pipe open
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %q: %w: %s", line, err, lastLine(out.String()))
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// hook queues a call of the person's program.
func (c *clone) hook(event string, ch change) {
	ch.Clone, ch.Path = c.conf.Name, c.git.Dir()
	select {
	case c.agent.hooks <- hookCall{event, ch}:
	default:
		c.log.Warn("hooks are too slow: one call is left out", "event", event)
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/agent/status"
)

// filesOf sorts files and folders by the clone that they are in, in the order of the command line.
func filesOf(clones []status.Clone, args []string) ([]control.FilesRequest, error) {
	var requests []control.FilesRequest
	for _, arg := range args {
		clone, file, err := locate(clones, arg)
		if err != nil {
			return nil, err
		}
		at := 0
		for at < len(requests) && requests[at].Clone != clone {
			at++
		}
		if at == len(requests) {
			requests = append(requests, control.FilesRequest{Clone: clone})
		}
		requests[at].Files = append(requests[at].Files, file)
	}
	return requests, nil
}

// locate finds the clone that a file is in, and its path there. What is named may itself be a link, as locked annexed files
// are, or not be there, as nothing is in a bare clone: there a file is named as if it were in the clone's folder.
func locate(clones []status.Clone, arg string) (clone, file string, err error) {
	path, err := filepath.Abs(arg)
	if err != nil {
		return "", "", fmt.Errorf("find file: %w", err)
	}
	places := []string{path}
	for dir, rest := filepath.Dir(path), filepath.Base(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			places = append(places, filepath.Join(target, rest))
			break
		}
		rest = filepath.Join(filepath.Base(dir), rest) // in a bare clone, no folder is there
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if dir, err := filepath.EvalSymlinks(path); err == nil {
			places = append(places, dir)
		}
	}
	found := false
	for _, c := range clones {
		for _, root := range []string{c.Path, resolved(c.Path)} {
			for _, place := range places {
				if within(root, place) && len(c.Path) > len(clone) {
					rel, err := filepath.Rel(root, place)
					if err != nil {
						return "", "", fmt.Errorf("find file: %w", err)
					}
					clone, file, found = c.Path, filepath.ToSlash(rel), true
				}
			}
		}
	}
	if !found {
		return "", "", notAClone(clones, arg)
	}
	if file == "." {
		file = ""
	}
	return clone, file, nil
}

func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// eachFiles calls do for each clone that files of the command line are in.
func (a *app) eachFiles(ctx context.Context, args []string, do func(*control.Client, control.FilesRequest) error) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	defer client.Close()
	snapshot, err := client.Status(ctx, 0)
	if err != nil {
		return err
	}
	requests, err := filesOf(snapshot.Clones, args)
	if err != nil {
		return err
	}
	for _, r := range requests {
		if err := do(client, r); err != nil {
			return err
		}
	}
	return nil
}

// changeFiles has do change something about the contents of files of the command line, and prints for how many that was.
func (a *app) changeFiles(
	ctx context.Context, args []string, do func(*control.Client, context.Context, control.FilesRequest) (control.FilesReply, error),
	none, one, many, rest string,
) error {
	sum := 0
	err := a.eachFiles(ctx, args, func(c *control.Client, r control.FilesRequest) error {
		reply, err := do(c, ctx, r)
		sum += reply.Contents
		return err
	})
	if err != nil {
		return err
	}
	said := none
	if sum > 0 {
		said = contents(sum, one, many) + rest
	}
	_, err = fmt.Fprintln(a.stdout, said)
	return err
}

// contents counts them, and puts the verb.
func contents(n int, one, many string) string {
	if n == 1 {
		return "1 content " + one
	}
	return fmt.Sprintf("%d contents %s", n, many)
}

package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// maxPassword bounds what is read from a password file or command, in bytes.
const maxPassword = 4096

// Password returns the account's password: the first line of the file, which only its owner may be able to read, or of what
// the command prints. It never is part of an error.
func (a *Account) Password(ctx context.Context) (string, error) {
	switch {
	case a.PasswordFile != "":
		return a.readPassword()
	case a.PasswordCommand != "":
		return a.runPassword(ctx)
	default:
		return "", &Error{Key: "account.jid", Msg: "there is no password", Fix: "git arbor account JID"}
	}
}

func (a *Account) readPassword() (string, error) {
	f, err := os.Open(a.PasswordFile)
	if err != nil {
		return "", &Error{Path: a.PasswordFile, Msg: errors.Unwrap(err).Error(), Fix: "git arbor account " + a.JID, Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", &Error{Path: a.PasswordFile, Msg: "the password file is not a regular file"}
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", &Error{Path: a.PasswordFile, Msg: "others may read the password", Fix: "chmod 600 " + shellQuote(a.PasswordFile)}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPassword))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	password := firstLine(data)
	if password == "" {
		return "", &Error{Path: a.PasswordFile, Msg: "the first line is empty", Fix: "git arbor account " + a.JID}
	}
	return password, nil
}

func (a *Account) runPassword(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", a.PasswordCommand)
	// A grandchild that keeps the pipes open must not hold up the agent.
	cmd.WaitDelay = time.Second
	out := limitedBuffer{max: maxPassword}
	errOut := limitedBuffer{max: maxPassword}
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		if said := firstLine(errOut.Bytes()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return "", fmt.Errorf("run password_command: %w", err)
	}
	password := firstLine(out.Bytes())
	if password == "" {
		return "", errors.New("run password_command: it printed nothing")
	}
	return password, nil
}

// WritePassword stores a password for [Account.Password] in the file at path, readable by its owner only. The new file
// replaces an old one at once.
func WritePassword(path, password string) error {
	if password == "" || strings.ContainsAny(password, "\r\n") || len(password) >= maxPassword {
		return errors.New("store password: it must be one line, and not empty")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("store password: %w", err)
	}
	if err := replace(path, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("store password: %w", err)
	}
	return nil
}

// limitedBuffer keeps the first max bytes written to it.
type limitedBuffer struct {
	bytes.Buffer
	max int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, b.max-b.Len()))])
	return len(p), nil
}

func firstLine(data []byte) string {
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	return strings.TrimSuffix(string(line), "\r")
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

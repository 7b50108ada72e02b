package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// configuration is what `git config --list` said, which follows includes and all levels.
type configuration struct {
	values map[string]string // last value per key
	ident  *Signature        // the person's identity, resolved on first use
	stat   Stat              // of the repository's own file, before it was read
}

// Config returns the last value of a key ("annex.uuid", "remote.origin.url"; section and variable in lower case)
// as of Open or the last ReloadConfig or SetConfig, "" when unset. Any goroutine may call it.
func (r *Repo) Config(key string) string {
	r.confMu.Lock()
	defer r.confMu.Unlock()
	return r.conf.values[key]
}

// ConfigSections returns the variables of each subsection of a section: of "remote", by the name of the remote, those such as
// "url", in lower case, with their last values. Any goroutine may call it.
func (r *Repo) ConfigSections(section string) map[string]map[string]string {
	r.confMu.Lock()
	defer r.confMu.Unlock()
	sections := make(map[string]map[string]string)
	for key, value := range r.conf.values {
		name, ok := strings.CutPrefix(key, section+".")
		at := strings.LastIndexByte(name, '.')
		if !ok || at < 0 {
			continue
		}
		variables := sections[name[:at]]
		if variables == nil {
			variables = make(map[string]string)
			sections[name[:at]] = variables
		}
		variables[name[at+1:]] = value
	}
	return sections
}

// ConfigBool reads a boolean as git does; unset or not a boolean gives def.
func (r *Repo) ConfigBool(key string, def bool) bool {
	r.confMu.Lock()
	v, ok := r.conf.values[key]
	r.confMu.Unlock()
	if !ok {
		return def
	}
	return parseBool(v, def)
}

// parseBool reads the value of a boolean as git does; what is none gives def.
func parseBool(v string, def bool) bool {
	switch strings.ToLower(v) {
	case "true", "yes", "on":
		return true
	case "false", "no", "off", "":
		return false
	}
	if n, err := strconv.ParseInt(v, 0, 64); err == nil {
		return n != 0
	}
	return def
}

// ReloadConfig reads all configuration files again.
func (r *Repo) ReloadConfig(ctx context.Context) error {
	stat, err := r.statConfig()
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	out, err := r.git(ctx, "config", "--list", "-z")
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	values := make(map[string]string)
	for rec := range bytes.SplitSeq(out, []byte{0}) {
		if len(rec) == 0 {
			continue
		}
		// "key\nvalue", or "key" alone, which means true.
		key, value, ok := strings.Cut(string(rec), "\n")
		if !ok {
			value = "true"
		}
		values[key] = value
	}
	r.confMu.Lock()
	r.conf = configuration{values: values, stat: stat}
	r.confMu.Unlock()
	return nil
}

// ConfigChanged says whether the repository's own configuration file has changed since Open or the last ReloadConfig or SetConfig. Any goroutine may call it.
func (r *Repo) ConfigChanged() bool {
	stat, err := r.statConfig()
	r.confMu.Lock()
	defer r.confMu.Unlock()
	return err == nil && stat != r.conf.stat
}

// statConfig looks at the repository's own configuration file; the zero Stat stands for none.
func (r *Repo) statConfig() (Stat, error) {
	stat, err := lstatPath(filepath.Join(r.gitDir, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return stat, err
}

// SetConfig sets a key in the repository's own configuration.
func (r *Repo) SetConfig(ctx context.Context, key, value string) error {
	if _, err := r.git(ctx, "config", "--local", "--replace-all", key, value); err != nil {
		return fmt.Errorf("set %s: %w", key, err)
	}
	return r.ReloadConfig(ctx)
}

// identity is who commits are by when nobody says otherwise. It is resolved once per reading of the configuration;
// where git itself would refuse to guess, the login name stands in, so that a missing user.email stops nothing.
func (r *Repo) identity(ctx context.Context) Signature {
	r.confMu.Lock()
	known := r.conf.ident
	r.confMu.Unlock()
	if known != nil {
		return *known
	}
	var id Signature
	if out, err := r.git(ctx, "var", "GIT_AUTHOR_IDENT"); err == nil {
		id = parseSignature(string(bytes.TrimSpace(out)))
	}
	if id.Name == "" || id.Email == "" {
		id.Name = "Arbor"
		if u, err := user.Current(); err == nil && u.Username != "" {
			id.Name = u.Username
		}
		id.Name = cleanIdent(id.Name)
		id.Email = id.Name + "@localhost"
	}
	r.confMu.Lock()
	r.conf.ident = &Signature{Name: id.Name, Email: id.Email}
	r.confMu.Unlock()
	return Signature{Name: id.Name, Email: id.Email}
}

// cleanIdent takes out what git does not allow in a name or address of a commit.
func cleanIdent(s string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c == '<' || c == '>' || c == '\n' || c == 0 {
			return -1
		}
		return c
	}, s))
}

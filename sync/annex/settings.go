package annex

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	uuidLog   = "uuid.log"
	configLog = "config.log"
)

// Descriptions gives what people call the clones and special remotes, by UUID.
func (r *Repo) Descriptions(ctx context.Context) (map[string]string, error) {
	log, err := r.valueLog(ctx, uuidLog, uuidLogFormat)
	if err != nil {
		return nil, err
	}
	return log.values(), nil
}

// Describe records what people call a clone.
func (r *Repo) Describe(ctx context.Context, uuid, description string) error {
	return r.setValue(ctx, uuidLog, uuidLogFormat, uuid, description)
}

// Setting gives a setting that all clones share (config.log), such as annex.largefiles.
func (r *Repo) Setting(ctx context.Context, name string) (value string, ok bool, err error) {
	log, err := r.valueLog(ctx, configLog, configLogFormat)
	if err != nil {
		return "", false, err
	}
	value, ok = log.get(name)
	return value, ok && value != "", nil
}

// SetSetting records a setting for all clones; "" unsets it, as in git-annex.
func (r *Repo) SetSetting(ctx context.Context, name, value string) error {
	return r.setValue(ctx, configLog, configLogFormat, name, value)
}

// setting gives a setting from git's configuration, else the one that all clones share.
func (r *Repo) setting(ctx context.Context, name string) (value, from string, err error) {
	if value := r.git.Config(name); value != "" {
		return value, "git config", nil
	}
	value, _, err = r.Setting(ctx, name)
	return value, "git annex config", err
}

func (r *Repo) setValue(ctx context.Context, path string, format valueFormat, subject, value string) error {
	if subject == "" || strings.ContainsAny(subject, " \r\n") || strings.ContainsAny(value, "\r\n") {
		return fmt.Errorf("write %s: %q and %q do not fit on a line", path, subject, value)
	}
	_, err := r.commit(ctx, func(e *edit) error { return e.setValue(path, format, subject, value) })
	return err
}

func (e *edit) setValue(path string, format valueFormat, subject, value string) error {
	content, err := e.read(path)
	if err != nil {
		return err
	}
	log := parseValueLog(content, format)
	if log.set(subject, value, time.Now()) {
		e.write(path, log.bytes())
	}
	return nil
}

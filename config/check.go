package config

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// check finds values that have the right type and cannot be meant.
func (c *Config) check() []fault {
	faults := c.Account.check()
	faults = append(faults, checkClones(c.Clones)...)
	faults = append(faults, c.Limits.check()...)
	bad := func(key, msg string) {
		faults = append(faults, fault{key: key, msg: msg, fix: want(key)})
	}
	for _, addr := range c.Link.Listen {
		if !validAddr(addr, true) {
			bad("link.listen", strconv.Quote(addr)+" is not an address to listen on")
		}
	}
	for _, addr := range c.Link.Advertise {
		if !validAddr(addr, false) {
			bad("link.advertise", strconv.Quote(addr)+" is not an address to reach this machine at")
		}
	}
	if c.Hooks.Timeout <= 0 {
		bad("hooks.timeout", "a program cannot end before it starts")
	}
	if c.Sync.Interval < Duration(time.Second) {
		bad("sync.interval", "too short")
	}
	return faults
}

// Check finds values that cannot be meant, as [Load] does; the error is an [*Error].
func (a *Account) Check() error {
	faults := a.check()
	if len(faults) == 0 {
		return nil
	}
	return &Error{Key: faults[0].key, Msg: faults[0].msg, Fix: faults[0].fix}
}

func (a *Account) check() []fault {
	var faults []fault
	bad := func(key, msg, fix string) {
		faults = append(faults, fault{key: "account." + key, msg: msg, fix: fix})
	}
	if *a == (Account{}) {
		return nil
	}
	if !validJID(a.JID) {
		bad("jid", strconv.Quote(a.JID)+" is not the address of an account", want("account.jid"))
	}
	switch {
	case a.PasswordFile != "" && a.PasswordCommand != "":
		bad("password_command", "there is a password_file too", "keep one of the two")
	case a.PasswordFile == "" && a.PasswordCommand == "":
		bad("jid", "there is no password for it", "add password_file or password_command, or run: git arbor account JID")
	}
	if a.Name != "" && !validName(a.Name) {
		bad("name", strconv.Quote(a.Name)+" cannot name a machine", want("account.name"))
	}
	if a.Server != "" && !validAddr(a.Server, false) {
		bad("server", strconv.Quote(a.Server)+" is not a host and port", want("account.server"))
	}
	return faults
}

func checkClones(clones []Clone) []fault {
	var faults []fault
	paths := make(map[string]bool)
	names := make(map[string]bool)
	for i, clone := range clones {
		bad := func(key, msg, fix string) {
			faults = append(faults, fault{"clones." + key, i, msg, fix})
		}
		path := filepath.Clean(clone.Path)
		switch {
		case clone.Path == "":
			bad("path", "a clone needs one", want("clones.path"))
		case !filepath.IsAbs(path) && !strings.HasPrefix(path, "~/"):
			bad("path", strconv.Quote(clone.Path)+" is a relative path", want("clones.path"))
		case paths[path]:
			bad("path", strconv.Quote(clone.Path)+" is listed twice", "remove one of the two")
		}
		paths[path] = true
		switch {
		case clone.Name == "":
		case !validName(clone.Name):
			bad("name", strconv.Quote(clone.Name)+" cannot name a clone", want("clones.name"))
		case names[clone.Name]:
			bad("name", strconv.Quote(clone.Name)+" names two clones", "give one of the two another name")
		}
		names[clone.Name] = true
		if clone.Mode != "" && clone.Mode != ModeAuto && clone.Mode != ModeCommits {
			bad("mode", strconv.Quote(clone.Mode)+" is not a mode", want("clones.mode"))
		}
	}
	return faults
}

// validJID tells whether s has the outer form of a bare JID with a local part (RFC 7622, section 3.1). The XMPP session
// checks the rest.
func validJID(s string) bool {
	local, domain, found := strings.Cut(s, "@")
	return found && local != "" && domain != "" && len(s) <= 2047 &&
		!strings.ContainsFunc(local, func(r rune) bool {
			return strings.ContainsRune("\"&'/:<>@", r) || unicode.IsSpace(r) || unicode.IsControl(r)
		}) &&
		!strings.ContainsFunc(domain, func(r rune) bool {
			return strings.ContainsRune("@/", r) || unicode.IsSpace(r) || unicode.IsControl(r)
		})
}

func validName(s string) bool {
	return s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool { return r == '/' || unicode.IsControl(r) })
}

// validAddr tells whether s is host:port. To listen, the host may be missing and the port 0.
func validAddr(s string, listen bool) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && (listen || (host != "" && n != 0))
}

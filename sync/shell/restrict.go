package shell

import (
	"errors"
	"fmt"
	"os/user"
	"path/filepath"
	"strings"
)

// The restrictions, which are in force when their variable is not empty: git-annex-shell(1), ENVIRONMENT. A key in authorized_keys sets them.
const (
	envReadOnly   = "GIT_ANNEX_SHELL_READONLY"   // nothing is stored or removed; does not bind git's services
	envAppendOnly = "GIT_ANNEX_SHELL_APPENDONLY" // nothing is removed
	envLimited    = "GIT_ANNEX_SHELL_LIMITED"    // git's services are refused
	envDirectory  = "GIT_ANNEX_SHELL_DIRECTORY"  // the only repository
)

func (s *Shell) set(variable string) bool { return s.Getenv(variable) != "" }

func (s *Shell) refuseIf(variable string) error {
	if s.set(variable) {
		return errors.New("Action blocked by " + variable) // git-annex's words
	}
	return nil
}

// checkDirectory refuses a repository that is not the only one that is allowed; "" when the command does not say which it means.
func (s *Shell) checkDirectory(dir string) error {
	only := s.Getenv(envDirectory)
	switch {
	case only == "":
		return nil
	case dir == "":
		return fmt.Errorf("Only allowed to access %s and could not determine directory from command line", only) //nolint:staticcheck // git-annex's words
	}
	allowed, err := s.absolute(only)
	if err != nil {
		return err
	}
	asked, err := s.absolute(dir)
	if err != nil {
		return err
	}
	if allowed != asked {
		return fmt.Errorf("Only allowed to access %s not %s", only, asked) //nolint:staticcheck // git-annex's words
	}
	return nil
}

// absolute gives the path of a repository as ssh urls have it: relative ones are in the home directory, and ~ and ~person at the beginning,
// also after a slash, stand for home directories.
func (s *Shell) absolute(dir string) (string, error) {
	if t := strings.TrimPrefix(dir, "/"); strings.HasPrefix(t, "~") {
		dir = t
	}
	if filepath.IsAbs(dir) {
		return filepath.Clean(dir), nil
	}
	if !strings.HasPrefix(dir, "~") {
		dir = "~/" + dir
	}
	who, rest, _ := strings.Cut(dir[1:], "/")
	home := s.Getenv("HOME")
	if who != "" || home == "" {
		lookUp := user.Current
		if who != "" {
			lookUp = func() (*user.User, error) { return user.Lookup(who) }
		}
		u, err := lookUp()
		if err != nil {
			return "", fmt.Errorf("find home directory: %w", err)
		}
		home = u.HomeDir
	}
	return filepath.Join(home, rest), nil
}

// options are what follows the directory on a command line.
type options struct {
	params   []string
	uuid     string // what the repository must be called
	autoInit bool
}

// parseOptions reads parameters and options. Between two -- are fields, of which one is known; what follows was for rsync once.
func parseOptions(args []string) (options, error) {
	var o options
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, value, given := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			for _, field := range args {
				if field == "--" {
					break
				}
				o.autoInit = o.autoInit || field == "autoinit=1"
			}
			return o, nil
		case name == "--uuid":
			if !given {
				if len(args) == 0 {
					return o, errors.New("The option `--uuid` expects an argument.") //nolint:staticcheck // git-annex's words
				}
				value, args = args[0], args[1:]
			}
			o.uuid = value
		case arg == "--debug", arg == "--no-debug", arg == "--quiet", arg == "--verbose", arg == "--fast", arg == "--force", name == "--debugfilter" && given:
		case strings.HasPrefix(arg, "-"):
			return o, fmt.Errorf("Invalid option `%s'", arg) //nolint:staticcheck // git-annex's words
		default:
			o.params = append(o.params, arg)
		}
	}
	return o, nil
}

// words splits a command line as git-annex does (Utility/SafeCommand.hs, shellUnEscape): at spaces outside of quotes of either kind, and nothing
// else is special.
func words(line string) []string {
	var all []string
	for line != "" {
		var word strings.Builder
		var quote byte
		end := 0
		for ; end < len(line) && (quote != 0 || line[end] != ' '); end++ {
			switch c := line[end]; {
			case quote != 0 && c == quote:
				quote = 0
			case quote == 0 && (c == '\'' || c == '"'):
				quote = c
			default:
				word.WriteByte(c)
			}
		}
		all = append(all, word.String())
		line = line[min(end+1, len(line)):]
	}
	return all
}

package remote

import (
	"net/url"
	"strings"
)

// A place is where a repository is.
type place struct {
	host string // of ssh, with the user where one is given; "" is this machine
	port string // "" is ssh's own
	dir  string // on another host it begins with a slash, and /~ is a home there
}

// parsePlace reads a URL as git does (git-clone(1), GIT URLS); false when it is neither ssh nor a path.
func parsePlace(s string) (place, bool) {
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL || strings.ContainsAny(scheme, "/:") {
		return parseShort(s)
	}
	switch scheme {
	case "file":
		if at := strings.IndexByte(rest, '/'); at == 0 || at > 0 && rest[:at] == "localhost" {
			dir, err := url.PathUnescape(rest[at:])
			return place{dir: dir}, err == nil
		}
		return place{}, false
	case "ssh", "git+ssh", "ssh+git":
	default:
		return place{}, false
	}
	u, err := url.Parse(s)
	if err != nil || u.Path == "" {
		return place{}, false
	}
	p := place{host: u.Hostname(), port: u.Port(), dir: u.Path}
	if name := u.User.Username(); name != "" {
		p.host = name + "@" + p.host
	}
	return p, p.sound()
}

// parseShort reads what is no URL: [user@]host:path, where the host may be in brackets, or a path.
func parseShort(s string) (place, bool) {
	if strings.Contains(s, "::") && !strings.ContainsAny(s[:strings.Index(s, "::")], "/[") {
		return place{}, false // another program's: ext::, gcrypt::, tor-annex::
	}
	colon, slash := strings.IndexByte(s, ':'), strings.IndexByte(s, '/')
	if colon < 0 || slash >= 0 && slash < colon {
		return place{dir: s}, s != ""
	}
	var p place
	user := ""
	if at := strings.IndexByte(s, '@'); at >= 0 && at < colon {
		user, s = s[:at+1], s[at+1:]
	}
	if strings.HasPrefix(s, "[") {
		inner, rest, ok := strings.Cut(s[1:], "]")
		if !ok || !strings.HasPrefix(rest, ":") {
			return place{}, false
		}
		if p.host, p.dir = inner, rest[1:]; strings.Count(inner, ":") == 1 {
			p.host, p.port, _ = strings.Cut(inner, ":")
		}
	} else {
		p.host, p.dir, _ = strings.Cut(s, ":")
	}
	switch {
	case strings.HasPrefix(p.dir, "~"):
		p.dir = "/" + p.dir
	case !strings.HasPrefix(p.dir, "/"):
		p.dir = "/~/" + p.dir
	}
	p.host = user + p.host
	return p, p.sound()
}

// sound says whether ssh takes the host for a host and the port for a port, and not for options.
func (p place) sound() bool {
	return p.host != "" && p.host[0] != '-' && !strings.HasSuffix(p.host, "@") && strings.Trim(p.port, "0123456789") == "" &&
		!strings.ContainsAny(p.host+p.dir, "\x00\n")
}

package wanted

import (
	"errors"
	"maps"
	"slices"
)

// Trust is how far a repository's word counts that it has content (git-annex-trust(1)).
type Trust int8

// From the least trusted to the most.
const (
	Dead        Trust = iota - 2 // lost for good: what it had counts nowhere
	Untrusted                    // its copies never count when one is to be removed
	Semitrusted                  // they count when they are proven; what nothing is said of is this
	Trusted                      // they count unproven
)

// ParseTrust reads a level as people write it.
func ParseTrust(word string) (Trust, bool) {
	t, ok := trustLevels[word]
	return t, ok
}

var trustLevels = map[string]Trust{"dead": Dead, "untrusted": Untrusted, "semitrusted": Semitrusted, "trusted": Trusted}

// Logs are the settings of all repositories as the logs of the git-annex branch have them, by UUID but for GroupWanted.
type Logs struct {
	Preferred, Required map[string]string   // expressions
	Groups              map[string][]string // names
	GroupWanted         map[string]string   // expressions, by the name of a group
	Trust               map[string]Trust
	PreferredDir        map[string]string // preferreddir= of special remotes
	MaxSize             map[string]int64  // of all contents together, in bytes
	NumCopies           int               // that of numcopies.log; 0 for git-annex's default
}

// Settings say what each repository wants. They never change.
type Settings struct {
	logs    Logs
	members map[string][]string // UUIDs by group, sorted
	rules   map[string]rules    // by UUID
}

// rules are what one repository is set to; a nil tree is not configured.
type rules struct {
	wanted   *node // what is required is wanted too
	required *node
	problem  error // why wanted is not what the logs say
}

// A Reason is one term of an expression that decided a verdict.
type Reason struct {
	Term  string // as written, such as "copies=2"; "" when no term did
	Match bool
	Why   string // what was found, such as "1 copy known, 2 needed"; may be ""
}

// New reads all expressions. The maps of logs must not be changed any more. An expression that cannot be read is that of a repository that keeps
// what it has and wants nothing else, as in git-annex: it may come from a newer version.
func New(logs Logs) *Settings {
	s := &Settings{logs: logs, members: make(map[string][]string), rules: make(map[string]rules)}
	for _, uuid := range slices.Sorted(maps.Keys(logs.Groups)) {
		for _, group := range logs.Groups[uuid] {
			if members := s.members[group]; !slices.Contains(members, uuid) {
				s.members[group] = append(members, uuid)
			}
		}
	}
	for _, all := range []map[string]string{logs.Preferred, logs.Required} {
		for uuid := range all {
			s.rules[uuid] = s.read(uuid)
		}
	}
	return s
}

// Check says what is wrong with a preferred content expression that a person wants to set; nil when it is understood.
func Check(text string) error {
	says := func() (*node, error) { return nil, nil }
	r := &reader{Settings: New(Logs{}), standard: says, groupWanted: says}
	n, err := parse(text, r.term)
	if err == nil && n.unstable(false) {
		err = ErrUnstable
	}
	return err
}

// ErrUnstable is the problem of an expression that would never come to rest.
var ErrUnstable = errors.New(`the opposite of "present" would get and drop the same content for ever`)

func (s *Settings) read(uuid string) rules {
	preferred, err := s.parse(uuid, s.logs.Preferred[uuid], true, true)
	required, errRequired := s.parse(uuid, s.logs.Required[uuid], true, true)
	r := rules{wanted: preferred, required: required}
	present, _ := (&reader{Settings: s, uuid: uuid}).present()
	switch {
	case required == nil:
	case preferred == nil:
		r.wanted = required
	default:
		r.wanted = either(preferred, required)
	}
	if errRequired != nil {
		r.required = present
	}
	if r.problem = errors.Join(err, errRequired); r.problem != nil {
		r.wanted = present
	}
	if r.required.unstable(false) {
		r.required, _ = fixed("nothing", false)
	}
	if r.wanted.unstable(false) {
		r.wanted, _ = fixed("nothing", false)
		r.problem = ErrUnstable
	}
	return r
}

// parse reads an expression of a repository. standard and groupWanted say whether these words stand for what its group wants; if not, or if it
// is not in exactly one group that wants something, they match what is there.
func (s *Settings) parse(uuid, text string, standard, groupWanted bool) (*node, error) {
	r := &reader{Settings: s, uuid: uuid}
	r.standard = func() (*node, error) {
		if expression, ok := s.groupWants(uuid, standardGroup); standard && ok {
			return s.parse(uuid, expression, false, false)
		}
		return r.present()
	}
	r.groupWanted = func() (*node, error) {
		if expression, ok := s.groupWants(uuid, s.groupExpression); groupWanted && ok {
			return s.parse(uuid, expression, true, false)
		}
		return r.present()
	}
	return parse(text, r.term)
}

// groupWants gives the expression of the only group of the repository that has one.
func (s *Settings) groupWants(uuid string, lookup func(group string) (string, bool)) (expression string, ok bool) {
	found := 0
	for group, members := range s.members {
		if !slices.Contains(members, uuid) {
			continue
		}
		if e, has := lookup(group); has {
			expression = e
			found++
		}
	}
	return expression, found == 1
}

func (s *Settings) trust(uuid string) Trust { return s.logs.Trust[uuid] }

// Configured says whether anything is set for a repository. One that is not wants everything and requires nothing.
func (s *Settings) Configured(uuid string) bool { return s.rules[uuid].wanted != nil }

// Problem says why a repository is not treated as its expressions say; nil when it is.
func (s *Settings) Problem(uuid string) error { return s.rules[uuid].problem }

// Wants says whether a repository wants to have the file's content.
func (s *Settings) Wants(uuid string, f *File) (bool, error) {
	return s.rules[uuid].wanted.match(&question{file: f})
}

// WantsDrop says whether a repository that has the content does not want it any more, under the file's path nor any of the others
// that the annex has the same content under. It is asked what it would want had it dropped the content already, so that what was dropped is not wanted
// back at once. Whether copies enough are elsewhere is for the caller to see to.
func (s *Settings) WantsDrop(uuid string, f *File, others ...string) (bool, error) {
	wanted, err := s.rules[uuid].wanted.matchAny(&question{file: f, absent: uuid}, others)
	return !wanted && err == nil, err
}

// Requires says whether a repository must not drop the content, whoever asks for it.
func (s *Settings) Requires(uuid string, f *File, others ...string) (bool, error) {
	required := s.rules[uuid].required
	if required == nil {
		return false, nil
	}
	return required.matchAny(&question{file: f, absent: uuid}, others)
}

// matchAny says whether the question's file matches, or would under another path.
func (n *node) matchAny(q *question, others []string) (bool, error) {
	ok, err := n.match(q)
	for _, path := range others {
		if ok || err != nil {
			break
		}
		other := *q.file
		other.Path = path
		ok, err = n.match(&question{file: &other, absent: q.absent})
	}
	return ok, err
}

// Explain gives the terms that decided what Wants says, or with drop those that decided whether the content would be wanted had the repository
// dropped it.
func (s *Settings) Explain(uuid string, f *File, drop bool) (wanted bool, reasons []Reason, err error) {
	r := s.rules[uuid]
	if r.wanted == nil {
		return true, []Reason{{Match: true, Why: "nothing is set, so everything is wanted"}}, nil
	}
	q := &question{file: f}
	if drop {
		q.absent = uuid
	}
	wanted, reasons, err = r.wanted.explain(q, nil)
	if r.problem != nil {
		reasons = append(reasons, Reason{Why: r.problem.Error()})
	}
	return wanted, reasons, err
}

// Depends gives what a repository's verdicts follow from, besides its own expressions and the key. When a fact about one file has changed that is not
// among them, no verdict has.
func (s *Settings) Depends(uuid string) Facts {
	r := s.rules[uuid]
	return r.wanted.needs() | r.required.needs()
}

// Weighing gives the repositories whose verdicts follow from what repositories have, sorted. Those that are dead are not among them.
func (s *Settings) Weighing() []string {
	var all []string
	for uuid := range s.rules {
		if s.Depends(uuid)&Sizes != 0 && s.trust(uuid) != Dead {
			all = append(all, uuid)
		}
	}
	slices.Sort(all)
	return all
}

// Same says whether a repository's verdicts about all files are those of other settings.
func (s *Settings) Same(uuid string, other *Settings) bool {
	a, b := s.rules[uuid], other.rules[uuid]
	needs := s.Depends(uuid)
	return a.wanted.text(true) == b.wanted.text(true) && a.required.text(true) == b.required.text(true) &&
		s.logs.PreferredDir[uuid] == other.logs.PreferredDir[uuid] &&
		(needs&Locations == 0 || max(s.logs.NumCopies, 1) == max(other.logs.NumCopies, 1)) &&
		(needs&Trusts == 0 || maps.Equal(s.logs.Trust, other.logs.Trust)) &&
		(needs&Groups == 0 || maps.EqualFunc(s.members, other.members, slices.Equal)) &&
		(needs&Sizes == 0 || maps.Equal(s.logs.MaxSize, other.logs.MaxSize))
}

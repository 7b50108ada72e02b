package annex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/git-arbor/arbor/sync/wanted"
)

const (
	preferredLog      = "preferred-content.log"
	requiredLog       = "required-content.log"
	groupLog          = "group.log"
	groupPreferredLog = "group-preferred-content.log"
	maxSizeLog        = "maxsize.log"
)

// WantedLogs reads what all repositories are set to want. Trust and NumCopies, which other things follow from too, are left to the caller.
func (r *Repo) WantedLogs(ctx context.Context) (wanted.Logs, error) {
	var logs wanted.Logs
	for _, l := range []struct {
		path   string
		format valueFormat
		take   func(values map[string]string)
	}{
		{preferredLog, uuidLogFormat, func(values map[string]string) { logs.Preferred = values }},
		{requiredLog, uuidLogFormat, func(values map[string]string) { logs.Required = values }},
		{groupLog, uuidLogFormat, func(values map[string]string) { logs.Groups = splitGroups(values) }},
		{groupPreferredLog, configLogFormat, func(values map[string]string) { logs.GroupWanted = values }},
		{maxSizeLog, configLogFormat, func(values map[string]string) { logs.MaxSize = maxSizes(values) }},
	} {
		log, err := r.valueLog(ctx, l.path, l.format)
		if err != nil {
			return wanted.Logs{}, err
		}
		l.take(log.values())
	}
	remotes, err := r.RemoteConfigs(ctx)
	if err != nil {
		return wanted.Logs{}, err
	}
	logs.PreferredDir = make(map[string]string)
	for uuid, config := range remotes {
		if dir := config["preferreddir"]; dir != "" {
			logs.PreferredDir[uuid] = dir
		}
	}
	return logs, nil
}

// Wanted gives what all repositories want, as their settings are now.
func (r *Repo) Wanted(ctx context.Context) (*wanted.Settings, error) {
	logs, err := r.WantedLogs(ctx)
	if err != nil {
		return nil, err
	}
	if logs.Trust, err = r.Trusts(ctx); err != nil {
		return nil, err
	}
	num, err := r.copiesLog(ctx, numCopiesLog)
	if err != nil {
		return nil, err
	}
	if num != nil {
		logs.NumCopies = orOne(num)
	}
	return wanted.New(logs), nil
}

// WantedFile gives what is known of content under a path, for package wanted to judge. locations are who has it.
func (r *Repo) WantedFile(ctx context.Context, k Key, path string, locations []string) *wanted.File {
	size, ok := k.Size()
	if !ok {
		size = -1
	}
	return &wanted.File{
		Path: path, Size: size, Key: k.String(), Locations: locations,
		NumCopies: func(path string) (int, error) {
			if r.git.Bare() {
				return 0, nil
			}
			attrs, err := r.attrs.of(ctx, path)
			if err != nil {
				return 0, err
			}
			if n := parseCopies(attrs.numcopies); n != nil {
				return orOne(n), nil
			}
			return 0, nil
		},
		Metadata: func() (map[string][]string, error) { return r.Metadata(ctx, k) },
		URLs:     func() ([]string, error) { return r.URLs(ctx, k) },
		Used:     func() (map[string]wanted.Use, error) { return r.use(ctx) },
	}
}

// splitGroups reads the values of group.log.
func splitGroups(values map[string]string) map[string][]string {
	groups := make(map[string][]string, len(values))
	for uuid, names := range values {
		groups[uuid] = strings.Fields(names)
	}
	return groups
}

// maxSizes reads the values of maxsize.log.
func maxSizes(values map[string]string) map[string]int64 {
	sizes := make(map[string]int64, len(values))
	for uuid, text := range values {
		if size, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
			sizes[uuid] = size // what is out of range is the largest there is
		}
	}
	return sizes
}

// SetPreferred records what a repository is to want, an expression as `git annex wanted` takes it; "" makes it want what it is given. *Refused when the
// expression is not understood.
func (r *Repo) SetPreferred(ctx context.Context, uuid, expression string) error {
	if err := wanted.Check(expression); err != nil {
		return &Refused{
			What: fmt.Sprintf("preferred content %q: %v", expression, err),
			Hint: "git annex help preferred-content describes the expressions",
		}
	}
	return r.setValue(ctx, preferredLog, uuidLogFormat, uuid, expression)
}

// SetGroups records which groups a repository is in, instead of those it was in. *Refused when a name is not one word.
func (r *Repo) SetGroups(ctx context.Context, uuid string, groups []string) error {
	for _, name := range groups {
		if len(strings.Fields(name)) != 1 || strings.TrimSpace(name) != name {
			return &Refused{What: fmt.Sprintf("group %q", name), Hint: "a group's name is one word"}
		}
	}
	groups = slices.Compact(slices.Sorted(slices.Values(groups)))
	return r.setValue(ctx, groupLog, uuidLogFormat, uuid, strings.Join(groups, " "))
}

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/git-arbor/arbor/agent/control"
)

func newWhyCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "why FILE",
		Short: "Say why the content of a file is here, not here, or on its way",
		Long: `Say why the content of a file is here, not here, or on its way: who has it, whether this clone wants it, what keeps it from coming,
and whether it could be dropped. In a bare clone, name the file as if it were in its folder.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachFiles(cmd.Context(), args, func(c *control.Client, r control.FilesRequest) error {
				reply, err := c.Why(cmd.Context(), control.WhyRequest{Clone: r.Clone, File: r.Files[0]})
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(a.stdout, struct {
						Schema int    `json:"schema"`
						Clone  string `json:"clone"`
						control.WhyReply
					}{1, r.Clone, reply})
				}
				_, err = io.WriteString(a.stdout, strings.Join(whyLines(reply), "\n")+"\n")
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// whyLines tell the facts of an answer, one a line.
func whyLines(r control.WhyReply) []string {
	file := fmt.Sprintf("%q", r.File)
	if r.State == control.WhyInGit {
		return []string{file + " is in git itself: every clone has it"}
	}
	bytes := "of unknown size"
	if r.Size >= 0 {
		bytes = size(r.Size)
	}
	lines := []string{fmt.Sprintf("%s (%s) %s", file, bytes, whyState(r)), whyHolders(r.Holders), whyWanted(r)}
	if r.State == control.WhyHere || r.State == control.WhyUnfilled {
		lines = append(lines, whyStays(r))
	}
	return lines
}

// whyState says where a content is on its way.
func whyState(r control.WhyReply) string {
	switch r.State {
	case control.WhyInGit:
		return "is in git itself"
	case control.WhyHere:
		return "is here"
	case control.WhyUnfilled:
		return "is here, and not yet put into the file"
	case control.WhyDropped:
		return "is not here: it was dropped, and comes back when git arbor get asks for it"
	case control.WhyHeld:
		text := "is not here: it was paused or cancelled; git arbor resume --file or git arbor get lets it come"
		if r.Bytes > 0 {
			text += fmt.Sprintf("; %s of it are kept", size(r.Bytes))
		}
		return text
	case control.WhyUnwanted:
		return "is not here: this clone does not want it; git arbor get has it come all the same"
	case control.WhyComing:
		return fmt.Sprintf("is coming, %s of it are here: %s", size(r.Bytes), whyFrom(r.From))
	case control.WhyPaused:
		return "is not here: the contents of this clone are paused; git arbor resume lets them come"
	case control.WhyUnreached:
		return "is not here: nobody who is known to have it can be reached; it comes as soon as somebody can"
	case control.WhyQueued:
		text := fmt.Sprintf("is not here: it waits for its turn as number %d", r.Position)
		if r.Asked {
			text += ", before all that nobody asked for"
		}
		return text
	case control.WhyUnknown:
	}
	return "is not here, and not in the queue; why is not known"
}

// whyFrom names those that send a content.
func whyFrom(all []control.Source) string {
	var from []string
	for _, s := range all {
		switch {
		case s.Name == "":
			from = append(from, "from a copy in this clone")
		case s.Why == "":
			from = append(from, "from "+oneLine(s.Name))
		default:
			from = append(from, fmt.Sprintf("from %s (%s)", oneLine(s.Name), s.Why))
		}
	}
	return strings.Join(from, ", ")
}

func whyHolders(all []control.Holder) string {
	if len(all) == 0 {
		return "nobody else is known to have it"
	}
	var names []string
	for _, h := range all {
		note := h.Note
		if h.Online {
			note = "online"
		}
		names = append(names, fmt.Sprintf("%s (%s)", oneLine(h.Name), note))
	}
	return "others that are known to have it: " + strings.Join(names, ", ")
}

// whyWanted says whether this clone wants a content, and by which terms.
func whyWanted(r control.WhyReply) string {
	text := "this clone wants it"
	if !r.Wanted {
		text = "this clone does not want it"
		if r.Asked {
			text += ", but somebody has asked for it here"
		}
	}
	if r.WantedAs != "" {
		text += fmt.Sprintf(" as %q, which is the same", r.WantedAs)
	}
	var reasons []string
	for _, reason := range r.Reasons {
		said := oneLine(reason.Why)
		if reason.Term != "" {
			said = oneLine(reason.Term) + " does not match"
			if reason.Match {
				said = oneLine(reason.Term) + " matches"
			}
			if reason.Why != "" {
				said += " (" + oneLine(reason.Why) + ")"
			}
		}
		reasons = append(reasons, said)
	}
	if len(reasons) > 0 {
		text += ": " + strings.Join(reasons, "; ")
	}
	return text
}

// whyStays says whether a content that is here could go.
func whyStays(r control.WhyReply) string {
	if r.Required {
		return "it cannot be dropped: git annex required says that this clone must have it"
	}
	copies := "1 other copy"
	if r.Needed != 1 {
		copies = fmt.Sprintf("%d other copies", r.Needed)
	}
	var known []string
	for _, who := range []struct {
		names []string
		why   string
	}{{r.Certain, "trusted"}, {r.Provable, "asked when it comes to it"}} {
		for _, name := range who.names {
			known = append(known, fmt.Sprintf("%s (%s)", oneLine(name), who.why))
		}
	}
	can, text := len(known) >= r.Needed, "it could not be dropped now"
	switch {
	case can && !r.Wanted && !r.Asked:
		text = "it goes by itself"
	case can:
		text = "it could be dropped"
	}
	text += ": " + copies + " must be certain"
	if len(known) > 0 {
		text += "; there may be " + strings.Join(known, ", ")
	}
	if len(r.Uncertain) > 0 {
		text += "; not counted: " + oneLine(strings.Join(r.Uncertain, ", "))
	}
	if len(known)+len(r.Uncertain) == 0 {
		text += ", and none is known"
	}
	return text
}

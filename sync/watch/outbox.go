package watch

import (
	"maps"
	"slices"
)

// maxRescans bounds the directories to rescan that wait for a slow reader; more become one rescan of everything.
const maxRescans = 1000

// outbox collects what to tell while the reader is busy: paths merge into one batch, equal news are told once. News about
// whole directories go first, so that a Lost is known before paths below it are.
type outbox struct {
	kind  Kind // of batches: Settled or Refs
	news  []Event
	paths map[string]struct{}
}

func (o *outbox) settle(paths map[string]struct{}) {
	if len(o.paths) == 0 {
		o.paths = paths
		return
	}
	maps.Copy(o.paths, paths)
}

func (o *outbox) tell(e Event) {
	switch e.Kind {
	case Rescan:
		rescans := 0
		for _, n := range o.news {
			if n.Kind == Rescan {
				rescans++
			}
		}
		if rescans >= maxRescans {
			o.news = slices.DeleteFunc(o.news, func(n Event) bool { return n.Kind == Rescan })
			e.Dir = ""
		}
	case Limited:
		o.news = slices.DeleteFunc(o.news, func(n Event) bool { return n.Kind == Limited })
	}
	// What is already on its way need not be told again, unless something about the same directory was told in between.
	for _, n := range slices.Backward(o.news) {
		if n.Dir != e.Dir || n.Kind == Limited {
			continue
		}
		if n.Kind == e.Kind {
			return
		}
		break
	}
	o.news = append(o.news, e)
}

// next takes the event to send next.
func (o *outbox) next() (Event, bool) {
	if len(o.news) > 0 {
		e := o.news[0]
		o.news = slices.Delete(o.news, 0, 1)
		return e, true
	}
	if len(o.paths) > 0 {
		e := Event{Kind: o.kind, Paths: slices.Sorted(maps.Keys(o.paths))}
		o.paths = nil
		return e, true
	}
	return Event{}, false
}

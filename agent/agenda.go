package agent

import "time"

// task is something an actor does later, unless an event brings it about sooner.
type task int

const (
	taskRetry     task = iota // try again what could not be done
	taskUnread                // look again at what could not be read
	taskStaged                // look again at what the person's git has staged
	taskPublish               // broadcast the vector
	taskRecord                // write location records, merge the git-annex branches
	taskLagging               // fetch git-annex branches that are still unknown
	taskSync                  // the slow timer: ask every peer, whatever the signals said
	taskSave                  // write the state file
	taskShowQueue             // show what the queue will do next
	taskProbe                 // measure links that were not used yet
	taskRemotes               // push to and fetch from remotes
	taskSurplus               // drop what is not wanted any more
	taskWeigh                 // look again at what is wanted by how full the repositories are
	taskUnneeded              // give up contents that no file names or wants any more
	taskPeerRefs              // move references of peers to where these say they are
	tasks
)

// agenda holds at most one due time for each task, behind one timer. Its owner selects on C and then calls due.
type agenda struct {
	at    [tasks]time.Time // zero: not planned
	timer *time.Timer
}

func newAgenda() *agenda {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &agenda{timer: t}
}

// C fires when the earliest task is due.
func (a *agenda) C() <-chan time.Time { return a.timer.C }

// in plans t at the latest after d; a time that is planned already and earlier stays.
func (a *agenda) in(t task, d time.Duration) {
	when := time.Now().Add(d)
	if a.at[t].IsZero() || when.Before(a.at[t]) {
		a.at[t] = when
		a.arm()
	}
}

// due takes the tasks whose time has come off the agenda and returns them.
func (a *agenda) due() []task {
	now := time.Now()
	var ts []task
	for t, when := range a.at {
		if !when.IsZero() && !when.After(now) {
			a.at[t] = time.Time{}
			ts = append(ts, task(t))
		}
	}
	a.arm()
	return ts
}

func (a *agenda) arm() {
	var next time.Time
	for _, when := range a.at {
		if !when.IsZero() && (next.IsZero() || when.Before(next)) {
			next = when
		}
	}
	if !next.IsZero() {
		a.timer.Reset(time.Until(next))
	}
}

package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/transfer"
)

// What each repository is to have is set in git-annex's own logs (git-annex-preferred-content(1)); one for which nothing is set wants all.
// Contents that are missing here and not wanted are spare: nobody waits for them. Those that are here and not wanted any more go, as soon
// as enough others are proven to have them, but what a person has asked for stays until the person drops it.

// surplusDelay is how long contents that are not wanted any more stay at least: others may be about to ask for them.
const surplusDelay = 2 * time.Second

// wants reports whether a repository, by its id, wants a content. The mutex is held.
func (h *holders) wants(id string, k annex.Key, have []string) bool {
	if h.settings == nil || !h.settings.Configured(id) {
		return true
	}
	if slices.Contains(h.weighing, id) {
		return slices.Contains(have, id) || slices.Contains(h.moveOf(k).to, id)
	}
	return h.ask(k, func(path string) (bool, error) {
		return h.settings.Wants(id, h.repo.WantedFile(context.Background(), k, path, have))
	})
}

// ask reports whether the answer is yes for any of the files that name a content. What cannot be found out is yes.
func (h *holders) ask(k annex.Key, question func(path string) (bool, error)) bool {
	paths := h.named[k]
	if len(paths) == 0 {
		paths = []string{""}
	}
	return slices.ContainsFunc(paths, func(path string) bool {
		yes, err := question(path)
		return yes || err != nil
	})
}

// wantsHere reports whether this clone wants a content that is missing.
func (w *contents) wantsHere(k annex.Key, logged []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.weighing) > 0 {
		if m := w.weigh(k, logged, false); slices.Contains(w.weighing, w.self) {
			return slices.Contains(m.to, w.self)
		}
	}
	return w.wants(w.self, k, w.have(k, logged))
}

// isSurplus reports whether a content that is here is wanted here no more.
func (w *contents) isSurplus(k annex.Key, logged []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	var m move
	if len(w.weighing) > 0 {
		m = w.weigh(k, logged, true)
	}
	if w.settings == nil || !w.settings.Configured(w.self) || w.kept[k] || len(w.named[k]) == 0 {
		return false
	}
	if slices.Contains(w.weighing, w.self) {
		return slices.Contains(m.from, w.self)
	}
	have := append(w.have(k, logged), w.self)
	drop, err := w.settings.WantsDrop(w.self, w.repo.WantedFile(context.Background(), k, w.named[k][0], have), w.named[k][1:]...)
	return drop && err == nil
}

// configured reports whether it is set what a repository wants.
func (h *holders) configured(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settings != nil && h.settings.Configured(id)
}

// readSettings takes in what the repositories are set to want, after a change of the git-annex branch.
func (c *clone) readSettings(ctx context.Context) error {
	settings, err := c.annex.Wanted(ctx)
	if err != nil {
		return fmt.Errorf("read what is wanted: %w", err)
	}
	c.want.mu.Lock()
	c.want.self, c.want.repo = c.id, c.annex
	old := c.want.settings
	c.want.settings = settings
	changed := func(id string) bool {
		return old == nil && settings.Configured(id) || old != nil && !settings.Same(id, old)
	}
	weighing := settings.Weighing()
	reweigh := !slices.Equal(weighing, c.want.weighing) || slices.ContainsFunc(weighing, changed)
	if reweigh {
		c.want.setWeighing(weighing)
	}
	others := false
	for _, node := range c.want.drawn.Nodes {
		others = others || changed(node.ID)
	}
	c.want.mu.Unlock()
	if others {
		c.want.refresh, c.want.replan = true, true
	}
	if err := c.readSizes(ctx); err != nil {
		return err
	}
	if changed(c.id) || reweigh {
		c.considerAll()
	}
	code := "wanted"
	if problem := settings.Problem(c.id); problem != nil {
		c.warnText(code, fmt.Sprintf("what %s wants is not understood: %v", c.conf.Name, problem), "git arbor want shows it, and sets it anew")
	} else {
		c.clear(code)
	}
	return nil
}

// consider looks at contents that files name, after something has changed on which it may depend whether they are wanted.
func (c *clone) consider(keys ...annex.Key) {
	all := make([][]string, len(keys))
	if c.want.configured(c.id) || c.want.weighs() { // else it does not matter who has them
		all = c.loggedOf(c.annex, keys)
	}
	for i, k := range keys {
		logged := all[i]
		switch {
		case c.want.missing[k] && (c.want.urgent[k] || c.want.kept[k] || c.want.wantsHere(k, logged)):
			delete(c.want.spare, k)
			if !c.want.held[k] {
				c.queue.Add(transfer.Job{Key: k, File: c.want.fileOf(k), Urgent: c.want.urgent[k]})
			}
		case c.want.missing[k] && !c.want.spare[k]:
			c.want.spare[k], c.want.unneeded[k] = true, true
			c.queue.Cancel(k)
			c.agenda.in(taskUnneeded, unneededDelay)
		case c.want.missing[k]:
		case c.want.isSurplus(k, logged):
			c.want.surplus[k] = true
			c.agenda.in(taskSurplus, surplusDelay)
		default:
			delete(c.want.surplus, k)
		}
	}
	c.want.requeued = c.want.requeued || len(keys) > 0
}

func (c *clone) considerAll() {
	keys := slices.Collect(maps.Keys(c.want.named))
	if c.want.weighs() { // each counts for those after it, and all clones are to find the same
		sortKeys(keys)
	}
	c.consider(keys...)
}

// locationsChanged takes in that others have got or lost contents.
func (c *clone) locationsChanged(keys []annex.Key) {
	if c.annex == nil {
		return
	}
	named := slices.DeleteFunc(slices.Clone(keys), func(k annex.Key) bool { return len(c.want.named[k]) == 0 })
	if len(c.places) > 0 {
		c.lacking(slices.DeleteFunc(slices.Clone(named), func(k annex.Key) bool { return !c.annex.Has(k) })...)
	}
	if c.want.dependsOnLocations() {
		c.consider(named...)
	}
}

// reconsider looks at what could not be dropped, because not enough others were proven to have it.
func (c *clone) reconsider() {
	unproven := slices.Collect(maps.Keys(c.want.unproven))
	clear(c.want.unproven)
	c.consider(unproven...)
}

// dropSurplus removes what is here and not wanted any more, as far as there are enough other copies. What has to stay is looked at again
// when something about it changes, and on the slow timer: who has the others may not have answered.
func (c *clone) dropSurplus() {
	if len(c.want.surplus) == 0 || c.want.dropping > 0 {
		return
	}
	d := c.newDropping()
	d.surplus = slices.Collect(maps.Keys(c.want.surplus))
	clear(c.want.surplus)
	c.want.dropping = len(d.surplus)
	c.aside(func(ctx context.Context) {
		err := d.run(ctx)
		c.post(ctx, func(context.Context) {
			c.want.dropping = 0
			for _, k := range d.kept {
				c.want.unproven[k] = true
			}
			if err != nil {
				c.log.Warn("drop what is not wanted", "err", err)
			}
			if len(c.want.surplus) > 0 {
				c.agenda.in(taskSurplus, surplusDelay)
			}
		})
	})
}

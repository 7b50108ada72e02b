package annex

import (
	"context"
	"crypto/sha1"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/wanted"
)

// cleaning is the way of one file into git.
type cleaning struct {
	*filter
	path  string
	begun bool
	entry gitrepo.Entry // in the index
	old   Key           // zero when the index has no annexed file there
	maker *keyMaker
}

// begin looks up what decides about the file beside its content.
func (c *cleaning) begin(ctx context.Context) error {
	if c.begun {
		return nil
	}
	var err error
	if c.entry, err = c.index.entry(ctx, c.path); err != nil {
		return err
	}
	c.old, _ = EntryKey(c.repo.git, c.entry)
	attrs, err := c.repo.attrs.of(ctx, c.path)
	if err != nil {
		return err
	}
	if c.maker, err = c.repo.keyMaker(c.path, attrs, c.old); err != nil {
		return err
	}
	c.begun = true
	return nil
}

func (c *cleaning) hash() hash.Hash {
	if c.maker == nil {
		return nil
	}
	return c.maker.hash
}

// finish gives the pointer that stands for the content in git; nil when the content itself goes into git.
func (c *cleaning) finish(ctx context.Context, content *spool) ([]byte, error) {
	if content.file == nil {
		if _, pointer := ParsePointer(content.head); pointer {
			return nil, nil
		}
		if err := c.begin(ctx); err != nil {
			return nil, err
		}
		c.maker.hash.Write(content.head)
	}
	if same, err := c.repo.isObject(c.old, content.size, func(w io.Writer) error { return content.writeTo(ctx, w) }); same || err != nil {
		return Pointer(c.old), err
	}
	k := c.maker.key(content.size)
	if k != c.old {
		large, err := c.large(ctx, content)
		if err != nil || !large {
			return nil, err
		}
	}
	if err := c.place(ctx, k, content); err != nil {
		return nil, err
	}
	c.added = append(c.added, Location{Key: k, UUID: c.repo.uuid, Present: true})
	return Pointer(k), nil
}

// place makes the content the object of the key.
func (c *cleaning) place(ctx context.Context, k Key, content *spool) error {
	if object, present := c.repo.ObjectPath(k); present {
		if overwritten, _, err := checkObject(k, object); err != nil || !overwritten {
			return err
		}
	}
	tmp, err := content.durable(ctx, c.repo)
	if err != nil {
		return err
	}
	if err := os.Chmod(tmp, c.repo.readers(c.path)); err != nil {
		return err
	}
	return c.repo.placeDurable(k, tmp)
}

// large decides, about content that is not that of the index's key, as git-annex's clean filter does. What git has as it is stays in git; else
// annex.largefiles decides; where that says nothing (or is not to count for git add), what is annexed stays annexed and all else goes into git.
func (c *cleaning) large(ctx context.Context, content *spool) (bool, error) {
	if c.old.IsZero() && c.entry.Mode.IsRegular() {
		same, err := c.unchanged(ctx, content)
		if err != nil || same {
			return false, err
		}
	}
	wasAnnexed := !c.old.IsZero()
	if !c.repo.git.ConfigBool("annex.gitaddtoannex", true) {
		return wasAnnexed, nil
	}
	f := withMagic(ctx, &wanted.File{Path: c.path, Size: content.size}, func() ([]byte, error) { return content.head, nil })
	large, configured, err := c.repo.largeByRule(ctx, f)
	if err != nil || configured {
		return large, err
	}
	return wasAnnexed, nil
}

// unchanged says whether the content is what the index has.
func (c *cleaning) unchanged(ctx context.Context, content *spool) (bool, error) {
	if content.file == nil {
		return gitrepo.HashBlob(content.head) == c.entry.Hash, nil
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", content.size)
	err := content.writeTo(ctx, h)
	return gitrepo.Hash(h.Sum(nil)) == c.entry.Hash, err
}

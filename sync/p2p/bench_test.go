package p2p_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// secured puts TLS 1.3 on both ends of a connection, as links have it.
func secured(b *testing.B) (client, server net.Conn) {
	b.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		b.Fatal(err)
	}
	mine, theirs := p2p.SocketPair(b)
	c := tls.Client(mine, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	s := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: private}}, MinVersion: tls.VersionTLS13})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return c, s
}

const benchSize = 256 << 20

// benchRepo has one key of benchSize bytes.
func benchRepo(b *testing.B) (*annex.Repo, annex.Key) {
	b.Helper()
	git, err := gitrepo.Open(b.Context(), newRepo(b))
	if err != nil {
		b.Fatal(err)
	}
	repo, err := annex.Open(b.Context(), git)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = repo.Close()
		_ = git.Close()
	})
	return repo, hold(b, repo, random(benchSize))
}

// BenchmarkCopy is what the line gives: the same file through the same kind of connection by io.Copy alone.
func BenchmarkCopy(b *testing.B) {
	repo, key := benchRepo(b)
	path, _ := repo.ObjectPath(key)
	client, server := secured(b)
	b.SetBytes(benchSize)
	for b.Loop() {
		go func() {
			file, err := os.Open(path)
			if err == nil {
				_, _ = io.Copy(server, file)
				_ = file.Close()
			}
		}()
		if _, err := io.CopyN(io.Discard, client, benchSize); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGet is the same by GET, the content being thrown away.
func BenchmarkGet(b *testing.B) {
	repo, key := benchRepo(b)
	c := benchClient(b, repo)
	b.SetBytes(benchSize)
	for b.Loop() {
		if _, err := c.Get(b.Context(), p2p.GetRequest{Key: key}, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFill is GET with all that belongs to it: stored, hashed, synced to disk and placed.
func BenchmarkFill(b *testing.B) {
	benchFill(b, func(c *p2p.Client, key annex.Key, p *p2p.Partial) error {
		return p.Fill(b.Context(), func(w io.Writer) error {
			_, err := c.Get(b.Context(), p2p.GetRequest{Key: key}, w)
			return err
		})
	})
}

// BenchmarkFillBlocks is the same in blocks.
func BenchmarkFillBlocks(b *testing.B) {
	benchFill(b, func(c *p2p.Client, key annex.Key, p *p2p.Partial) error {
		o, err := c.Blocks(b.Context(), key, "f", 0)
		if err != nil {
			return err
		}
		return p.FillBlocks(b.Context(), new(p2p.Arrivals), o.List, o.Via, func(ctx context.Context, offset int64, w io.Writer) error {
			_, err := o.Get(ctx, offset, w)
			return err
		})
	})
}

func benchFill(b *testing.B, fill func(*p2p.Client, annex.Key, *p2p.Partial) error) {
	repo, key := benchRepo(b)
	c := benchClient(b, repo)
	to, _ := benchRepo(b)
	b.SetBytes(benchSize)
	for b.Loop() {
		b.StopTimer()
		path, _ := to.ObjectPath(key)
		_ = os.Chmod(filepath.Dir(path), 0o755)
		_ = os.RemoveAll(filepath.Dir(path))
		b.StartTimer()
		p, err := p2p.OpenPartial(to, key, "")
		if err != nil {
			b.Fatal(err)
		}
		err = fill(c, key, p)
		p.Close()
		if err != nil {
			b.Fatal(err)
		}
	}
}

func benchClient(b *testing.B, repo *annex.Repo) *p2p.Client {
	b.Helper()
	client, server := secured(b)
	s := &p2p.Server{UUID: repo.UUID(), Annex: repo, Log: slog.New(slog.DiscardHandler)}
	go func() { _ = s.ServeAuthed(b.Context(), server, "client") }()
	c, err := p2p.NewClient(b.Context(), client, p2p.ClientOptions{Self: "client", Greeted: true})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

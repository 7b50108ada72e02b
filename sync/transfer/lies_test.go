package transfer_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/git-arbor/arbor/sync/annex"
)

// lies are the ways to answer with what is not the content.
func lies(contents map[annex.Key][]byte) map[string]peer {
	all := faults(contents)
	lies := map[string]peer{}
	for _, name := range []string{"wrong bytes", "one wrong byte", "half, and wrong", "too much", "less", "empty and valid", "garbage for content"} {
		lies[name] = all[name]
	}
	list := func(content []byte) []byte {
		v := keyOf(content).Verifier()
		_, _ = v.Write(content)
		return v.Blocks().Bytes()
	}
	// wrong is as long as the content, and differs only late, so that much of it passes.
	wrong := func(content []byte) []byte {
		content = bytes.Clone(content)
		content[len(content)-len(content)/3] ^= 1
		return content
	}
	lies["a bad block"] = blocksOf(func(key annex.Key) ([]byte, []byte) { return list(contents[key]), wrong(contents[key]) })
	lies["a bad list"] = blocksOf(func(key annex.Key) ([]byte, []byte) { return list(wrong(contents[key])), contents[key] })
	lies["another key"] = blocksOf(func(key annex.Key) ([]byte, []byte) {
		other := wrong(contents[key])
		return list(other), other
	})
	return lies
}

// blocksOf is a peer that answers with the list and the content that are given for a key, and has nothing in one piece.
func blocksOf(of func(annex.Key) (list, content []byte)) peer {
	return func(_ context.Context, conn net.Conn) {
		_, _ = io.WriteString(conn, "AUTH-SUCCESS liar\nVERSION 4\n")
		var content []byte
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			verb, rest, _ := strings.Cut(lines.Text(), " ")
			switch verb {
			case "ARBOR-BLOCKS":
				words := strings.SplitN(rest, " ", 3) // seconds, file, key
				key, err := annex.ParseKey(words[len(words)-1])
				if err != nil {
					return
				}
				var list []byte
				list, content = of(key)
				_, _ = fmt.Fprintf(conn, "ARBOR-LIST %d\n%s", len(list), list)
			case "ARBOR-FROM":
				var offset, length int
				if n, _ := fmt.Sscan(rest, &offset, &length); n < 2 {
					length = len(content)
				}
				rest := content[min(offset, len(content)):]
				rest = rest[:min(length, len(rest))]
				_, _ = fmt.Fprintf(conn, "DATA %d\n%sVALID\n", len(rest), rest)
			case "GET":
				_, _ = io.WriteString(conn, "DATA 0\nINVALID\n")
			}
		}
	}
}

package annex

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxPktData is the most data in one packet (gitprotocol-common(5)), in bytes.
const maxPktData = 65516

// errFlush is the packet that ends a list.
var errFlush = errors.New("flush packet")

// pktReader reads git's packets: four hexadecimal digits of length, which counts itself, and the data.
type pktReader struct {
	in  *bufio.Reader
	buf [maxPktData]byte
}

// read gives the data of the next packet, valid until the next call; errFlush for a flush packet, io.EOF between packets at the end of the stream.
func (p *pktReader) read() ([]byte, error) {
	var digits [4]byte
	if _, err := io.ReadFull(p.in, digits[:]); err != nil {
		return nil, err
	}
	size, err := strconv.ParseUint(string(digits[:]), 16, 16)
	switch {
	case err != nil || size > maxPktData+4 || size > 0 && size < 4:
		return nil, fmt.Errorf("packet of length %q", digits)
	case size == 0:
		return nil, errFlush
	}
	data := p.buf[:size-4]
	if _, err := io.ReadFull(p.in, data); err != nil {
		return nil, noEOF(err)
	}
	return data, nil
}

// list reads the text lines up to a flush packet. io.EOF means that there was nothing at all.
func (p *pktReader) list() ([]string, error) {
	const longest = 1000
	var lines []string
	for len(lines) < longest {
		data, err := p.read()
		if errors.Is(err, errFlush) {
			return lines, nil
		}
		if err != nil {
			if len(lines) > 0 {
				err = noEOF(err)
			}
			return nil, err
		}
		lines = append(lines, strings.TrimSuffix(string(data), "\n"))
	}
	return nil, errors.New("list of packets is too long")
}

// noEOF says that an end of the stream came too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// content gives a reader of the data up to a flush packet.
func (p *pktReader) content() *pktContent { return &pktContent{p: p} }

type pktContent struct {
	p    *pktReader
	rest []byte
	end  bool
}

func (c *pktContent) Read(b []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.end {
			return 0, io.EOF
		}
		data, err := c.p.read()
		switch {
		case errors.Is(err, errFlush):
			c.end = true
		case err != nil:
			return 0, noEOF(err)
		default:
			c.rest = data
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// pktWriter writes git's packets.
type pktWriter struct {
	out *bufio.Writer
}

// lines writes text lines and a flush packet, and sends all that was written.
func (p *pktWriter) lines(lines ...string) error {
	for _, line := range lines {
		if _, err := p.Write([]byte(line + "\n")); err != nil {
			return err
		}
	}
	return p.flush()
}

// Write writes data as packets.
func (p *pktWriter) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		n := min(len(data), maxPktData)
		if _, err := fmt.Fprintf(p.out, "%04x", n+4); err != nil {
			return written, err
		}
		if _, err := p.out.Write(data[:n]); err != nil {
			return written, err
		}
		written += n
		data = data[n:]
	}
	return written, nil
}

// flush writes a flush packet and sends all that was written.
func (p *pktWriter) flush() error {
	if _, err := p.out.WriteString("0000"); err != nil {
		return err
	}
	return p.out.Flush()
}

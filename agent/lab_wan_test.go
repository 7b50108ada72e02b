package agent_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// emulate makes a line with delay and loss out of two TUN devices, for not every kernel has tc-netem(8).
func (l *lab) emulate(line line) {
	l.t.Helper()
	ends := [2]*os.File{l.tun(line.a, line.b), l.tun(line.b, line.a)}
	background(l.t, func(ctx context.Context) error {
		var failed [2]error
		var both sync.WaitGroup
		for i := range ends {
			both.Go(func() { failed[i] = line.carry(ctx, ends[i], ends[1-i], rand.New(rand.NewPCG(1, uint64(i)))) })
		}
		<-ctx.Done()
		for _, f := range ends {
			f.Close()
		}
		both.Wait()
		return errors.Join(failed[:]...)
	})
}

// tun makes a TUN device in the namespace of a node.
func (l *lab) tun(node, device string) *os.File {
	l.t.Helper()
	var f *os.File
	l.in(node, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(device)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		f = os.NewFile(uintptr(fd), device)
		return err
	})
	return f
}

// packet is what is under way on a line.
type packet struct {
	data []byte
	due  time.Time
}

// carry carries packets in one direction until the context ends: each waits for its turn, is lost or not, and is there after the
// delay.
func (line line) carry(ctx context.Context, from, to *os.File, rng *rand.Rand) error {
	under := make(chan packet, 1<<14)
	var writer sync.WaitGroup
	writer.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for p := range under {
			if d := time.Until(p.due); d > 0 {
				timer.Reset(d)
				<-timer.C
			}
			_, _ = to.Write(p.data) // the other end may be gone
		}
	})
	defer writer.Wait()
	defer close(under)
	var free time.Time // when the line has sent what waits
	for {
		buf := make([]byte, 1500)
		n, err := from.Read(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read packets: %w", err)
		}
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > queued {
			continue
		}
		if line.mbit > 0 {
			free = free.Add(time.Duration(float64(n*8) / float64(line.mbit) * float64(time.Microsecond)))
		}
		if rng.Float64() < line.loss {
			continue
		}
		select {
		case under <- packet{buf[:n], free.Add(line.delay)}:
		default: // more than it is made for
		}
	}
}

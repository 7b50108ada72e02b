package xmpp

import (
	"slices"
	"testing"
	"time"

	"github.com/git-arbor/arbor/xmpp/xmpptest"
)

// BenchmarkOneWay measures the time from a call here to the event there, over
// ejabberd on loopback and an otherwise idle connection.
func BenchmarkOneWay(b *testing.B) {
	anna, bert := friends(b, xmpptest.Start(b))
	await(bert, from(anna))
	await(anna, from(bert))
	for name, round := range map[string]func(i int){
		"headline": func(i int) {
			if err := anna.Send(b.Context(), bert.full(), payload("%0300d", i)); err != nil {
				b.Fatal(err)
			}
			await[Message](bert)
		},
		"presence": func(i int) {
			if err := anna.SetPresence([]Payload{payload("%0300d", i)}); err != nil {
				b.Fatal(err)
			}
			await(bert, from(anna))
		},
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				round(i)
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs/p99")
		})
	}
}

// BenchmarkLogin measures a login from the dial to the bound resource.
func BenchmarkLogin(b *testing.B) {
	s := xmpptest.Start(b)
	jid, password := s.Account(b)
	for b.Loop() {
		p := run(b, newClient(b, options(s, jid, password)))
		await[Online](p)
		b.StopTimer()
		p.leave()
		b.StartTimer()
	}
}

package xmpptest

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func dialTLS(t *testing.T, s *Server) {
	t.Helper()
	conn, err := tls.Dial("tcp", s.TLSAddr, &tls.Config{ServerName: s.Domain, RootCAs: s.CA})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestSharedServer(t *testing.T) {
	s := Start(t)
	if s != Start(t) {
		t.Error("a second server was started")
	}
	dialTLS(t, s)
	anna, _ := s.Account(t)
	bert, _ := s.Account(t)
	s.Befriend(t, anna, bert)
	user, _, _ := strings.Cut(anna, "@")
	if roster := s.Call(t, "get_roster", map[string]any{"user": user, "server": s.Domain}); !strings.Contains(roster, bert) {
		t.Errorf("the roster of %s is %s", anna, roster)
	}
}

// TestHosts starts a server each way that the machine has.
func TestHosts(t *testing.T) {
	tried := 0
	for _, way := range []string{"system", "compose"} {
		t.Setenv("ARBOR_TEST_XMPP", way)
		if _, err := chooseHost(t.Context(), "../..", t.TempDir(), ports{}, t.Logf); err != nil {
			t.Log(err)
			continue
		}
		tried++
		t.Run(way, func(t *testing.T) {
			s := StartOwn(t)
			jid, _ := s.Account(t)
			dialTLS(t, s)
			s.Restart(t)
			dialTLS(t, s)
			s.Crash(t)
			s.Resume(t)
			dialTLS(t, s)
			user, _, _ := strings.Cut(jid, "@")
			if got := s.Call(t, "check_account", map[string]any{"user": user, "host": s.Domain}); got != "0" {
				t.Errorf("the account is gone after a restart: %s", got)
			}
		})
	}
	if tried == 0 {
		t.Fatal("this machine can start ejabberd in no way")
	}
}

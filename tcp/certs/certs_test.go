package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

// Each error of Open names the field and the file.
func TestOpenErrors(t *testing.T) {
	a, other := newAuthority("a", nil), newAuthority("other", nil)
	between := newAuthority("between", a)
	one := a.issue(1)
	for want, change := range map[string]func(d directory, c *Config){
		"Config.Cluster: ":                    func(_ directory, c *Config) { c.Cluster = "" },
		"Config.ID: 0":                        func(_ directory, c *Config) { c.ID = 0 },
		"Config.Every: -1s":                   func(_ directory, c *Config) { c.Every = -time.Second },
		"Config.CA: the name":                 func(_ directory, c *Config) { c.CA = "" },
		"Config.Cert: the name":               func(_ directory, c *Config) { c.Cert = "" },
		"Config.Key: the name":                func(_ directory, c *Config) { c.Key = "" },
		"CA: open ":                           func(d directory, _ *Config) { os.Remove(d.file("ca.crt")) },
		"Cert: open ":                         func(d directory, _ *Config) { os.Remove(d.file("1.crt")) },
		"Key: open ":                          func(d directory, _ *Config) { os.Remove(d.file("1.key")) },
		"Key: ":                               func(d directory, c *Config) { c.Key = string(d) }, // a directory
		"ca.crt: it holds no certificate":     func(d directory, _ *Config) { d.write(t, "ca.crt", "") },
		"ca.crt: part 2 is a PRIVATE KEY":     func(d directory, _ *Config) { d.write(t, "ca.crt", pemOf(a)+keyOf(a)) },
		"ca.crt: 1 of its 2 parts are cut":    func(d directory, _ *Config) { text := pemOf(a, other); d.write(t, "ca.crt", text[:len(text)-30]) },
		"ca.crt: 1 of its 3 parts are cut":    func(d directory, _ *Config) { d.write(t, "ca.crt", pemOf(other)[:200]+"\n"+pemOf(a, other)) },
		"ca.crt: it is larger than 1048576":   func(d directory, _ *Config) { d.write(t, "ca.crt", pemOf(a)+strings.Repeat("\n", 1<<20)) },
		"Cert, Key: ":                         func(d directory, _ *Config) { d.write(t, "1.key", keyOf(other)) },
		"1.crt: it is signed by \"CN=a\"":     func(d directory, _ *Config) { d.write(t, "ca.crt", pemOf(other)) },
		"1.crt: it is signed by \"CN=between": func(d directory, _ *Config) { d.put(t, between.issue(1)) },
		`certificate names "paxos:prod/2"`:    func(d directory, _ *Config) { d.put(t, a.issue(2)) },
		`and server 1 of cluster "x`:          func(_ directory, c *Config) { c.Cluster = "x" },
		"1.crt: it is not valid before ": func(d directory, _ *Config) {
			d.put(t, a.issue(1, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }))
		},
		"1.crt: it expired at ": func(d directory, _ *Config) {
			d.put(t, a.issue(1, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
		},
		"1.crt: it is signed by \"CN=a\": x509: certificate specifies an incompatible key usage": func(d directory, _ *Config) {
			d.put(t, a.issue(1, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
		},
		"incompatible key usage": func(d directory, _ *Config) {
			d.put(t, a.issue(1, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))
		},
		"1.crt: it is signed by \"CN=old\": x509: certificate has expired": func(d directory, _ *Config) {
			old := sign(nil, &x509.Certificate{Subject: pkix.Name{CommonName: "old"}, IsCA: true, BasicConstraintsValid: true,
				KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(-time.Minute)})
			d.write(t, "ca.crt", pemOf(old))
			d.put(t, old.issue(1)) // it outlives its authority
		},
	} {
		t.Run(want, func(t *testing.T) {
			d := newDirectory(t)
			d.write(t, "ca.crt", pemOf(a))
			d.put(t, one)
			c := d.config(nil)
			change(d, &c)
			f, err := Open(c)
			require.ErrorContains(t, err, "tcp: certificates: ")
			assert.ErrorContains(t, err, want)
			assert.Nil(t, f)
		})
	}
}

// A certificate that leads to an authority by an intermediate one is taken. So is a DNS name.
func TestOpen(t *testing.T) {
	a := newAuthority("a", nil)
	between := newAuthority("between", a)
	d := newDirectory(t)
	d.write(t, "ca.crt", "a comment\n"+pemOf(newAuthority("other", nil), a))
	d.put(t, between.issue(1, func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"1.prod.paxos"} }), between)
	f, err := Open(d.config(nil))
	require.NoError(t, err)
	assert.Len(t, f.TLS().Certificates, 1)
	f.TLS().Certificates = nil
	assert.Len(t, f.TLS().Certificates, 1, "what it returns is the caller's")
}

// watched runs Watch in a bubble, on files that step changes. It returns the log lines.
func watched(t *testing.T, prepare func(d directory), step func(d directory, f *Files, taken func() int)) (log []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, b := newDirectory(t), &book{}
		prepare(d)
		f, err := Open(d.config(b.logger()))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done, taken := make(chan struct{}), 0
		go func() {
			defer close(done)
			f.Watch(ctx, func(c *tls.Config) error {
				require.NotNil(t, c.RootCAs)
				taken++
				return nil
			})
		}()
		step(d, f, func() int { synctest.Wait(); return taken })
		cancel()
		<-done
		synctest.Wait() // lines are written by a goroutine of their own
		log = b.lines()
	})
	return log
}

// A certificate that is not valid yet when it is found is taken as soon as it is. The log says both, once each.
func TestNotYetValidIsTriedAgain(t *testing.T) {
	var a, next *authority
	log := watched(t, func(d directory) {
		a = newAuthority("a", nil)
		d.write(t, "ca.crt", pemOf(a))
		d.put(t, a.issue(1))
	}, func(d directory, f *Files, taken func() int) {
		next = a.issue(1, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Second) })
		d.put(t, next)
		time.Sleep(9500 * time.Millisecond)
		assert.Zero(t, taken())
		assert.NotEqual(t, next.cert.Raw, f.TLS().Certificates[0].Certificate[0])
		time.Sleep(time.Second)
		assert.Equal(t, 1, taken())
		assert.Equal(t, next.cert.Raw, f.TLS().Certificates[0].Certificate[0])
		time.Sleep(time.Minute)
		assert.Equal(t, 1, taken(), "what has not changed is not taken anew")
	})
	require.Len(t, log, 2, "%q", log)
	assert.Contains(t, log[0], `level=ERROR msg="certificates not renewed: those before stay in use, and the files are tried again" cluster=prod server=1 err="Cert: `)
	assert.Contains(t, log[0], "1.crt: it is not valid before 2000-01-01T00:00:10Z")
	assert.Contains(t, log[1], `level=INFO msg="certificates renewed" cluster=prod server=1 until=2000-01-01T01:00:00`)
}

// A file that can't be read for a while is read again until it can.
func TestUnreadableIsTriedAgain(t *testing.T) {
	var a *authority
	log := watched(t, func(d directory) {
		a = newAuthority("a", nil)
		d.write(t, "ca.crt", pemOf(a))
		d.put(t, a.issue(1))
	}, func(d directory, f *Files, taken func() int) {
		require.NoError(t, os.Rename(d.file("1.key"), d.file("away")))
		time.Sleep(10 * time.Second)
		require.NoError(t, os.Rename(d.file("away"), d.file("1.key")))
		time.Sleep(10 * time.Second)
		assert.Zero(t, taken(), "it is the same as before")
		require.NoError(t, os.Remove(d.file("1.key")))
		time.Sleep(10 * time.Second)
		d.put(t, a.issue(1))
		time.Sleep(time.Second)
		assert.Equal(t, 1, taken())
	})
	require.Len(t, log, 4, "%q", log)
	for i, says := range []string{"Key: open ", "certificates unchanged: those in use stay", "Key: open ", "certificates renewed"} {
		assert.Contains(t, log[i], says)
	}
}

// New files are found by their content, also with the same size and time.
func TestSameSizeAndTimeIsFound(t *testing.T) {
	var a, other *authority
	log := watched(t, func(d directory) {
		a, other = newAuthority("a", nil), newAuthority("other", nil)
		d.write(t, "ca.crt", pemOf(a, other))
		d.put(t, a.issue(1))
	}, func(d directory, f *Files, taken func() int) {
		before, err := os.Stat(d.file("ca.crt"))
		require.NoError(t, err)
		d.write(t, "ca.crt", pemOf(other, a))
		require.NoError(t, os.Chtimes(d.file("ca.crt"), before.ModTime(), before.ModTime()))
		after, err := os.Stat(d.file("ca.crt"))
		require.NoError(t, err)
		require.Equal(t, [2]any{before.Size(), before.ModTime()}, [2]any{after.Size(), after.ModTime()})
		time.Sleep(time.Second)
		assert.Equal(t, 1, taken())
	})
	require.Len(t, log, 1)
}

// Files that are written one after the other do not fit for a moment: nobody need hear of that. An operator who asks does.
func TestWhatPassesIsNotLogged(t *testing.T) {
	var a *authority
	log := watched(t, func(d directory) {
		a = newAuthority("a", nil)
		d.write(t, "ca.crt", pemOf(a))
		d.put(t, a.issue(1))
	}, func(d directory, f *Files, taken func() int) {
		next := a.issue(1)
		d.write(t, "1.key", keyOf(next))
		time.Sleep(1500 * time.Millisecond) // one look finds the half
		d.write(t, "1.crt", pemOf(next))
		time.Sleep(time.Second)
		assert.Equal(t, 1, taken())
		time.Sleep(10 * time.Millisecond) // not when it looks anyway
		f.Look()
		synctest.Wait()
		d.write(t, "1.key", "nothing")
		f.Look()
		synctest.Wait()
		time.Sleep(time.Minute)
		assert.Equal(t, 1, taken())
	})
	require.Len(t, log, 3, "%q", log)
	for i, says := range []string{"certificates renewed", "certificates unchanged", "Cert, Key: "} {
		assert.Contains(t, log[i], says)
	}
}

// A configuration that use refuses is given to it again.
func TestWhatUseRefusesIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, d, b := newAuthority("a", nil), newDirectory(t), &book{}
		d.write(t, "ca.crt", pemOf(a))
		d.put(t, a.issue(1))
		f, err := Open(d.config(b.logger()))
		require.NoError(t, err)
		d.put(t, a.issue(1))
		ctx, cancel := context.WithCancel(t.Context())
		tries, done := 0, make(chan struct{})
		go func() {
			defer close(done)
			f.Watch(ctx, func(*tls.Config) error {
				if tries++; tries < 5 {
					return errors.New("not now")
				}
				return nil
			})
		}()
		time.Sleep(time.Minute)
		cancel()
		<-done
		synctest.Wait()
		assert.Equal(t, 5, tries)
		log := b.lines()
		require.Len(t, log, 2, "%q", log)
		assert.Contains(t, log[0], "not now")
	})
}

// A Logger that blocks, or a read that hangs, keeps Watch neither from taking what is new nor from ending.
func TestWhatHangsHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, d, never := newAuthority("a", nil), newDirectory(t), make(chan struct{})
		d.write(t, "ca.crt", pemOf(a))
		d.put(t, a.issue(1))
		f, err := Open(d.config(slog.New(blocked{slog.DiscardHandler, never})))
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		taken, done := 0, make(chan struct{})
		var hangs atomic.Bool
		f.read = func(file string) (string, error) {
			if hangs.Load() {
				<-never
			}
			return readFile(file)
		}
		go func() {
			defer close(done)
			f.Watch(ctx, func(*tls.Config) error { taken++; return nil })
		}()
		for i := range 3 {
			d.put(t, a.issue(1))
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Equal(t, i+1, taken)
		}
		hangs.Store(true)
		time.Sleep(time.Minute)
		began := time.Now()
		cancel()
		<-done
		assert.Zero(t, time.Since(began))
		d.put(t, a.issue(1))
		close(never)
		synctest.Wait()
		assert.Equal(t, 3, taken, "after the end nothing is taken")
	})
}

// blocked is a Handler that does not return.
type blocked struct {
	slog.Handler
	never chan struct{}
}

func (b blocked) Enabled(context.Context, slog.Level) bool  { <-b.never; return true }
func (b blocked) WithAttrs([]slog.Attr) slog.Handler        { return b }
func (b blocked) Handle(context.Context, slog.Record) error { return nil }

// Two servers whose certificates are replaced, authority and all, while they talk: each new pair is used as soon as the file
// is there.
func TestTransportsTakeNewCertificates(t *testing.T) {
	a, b := newAuthority("a", nil), newAuthority("b", nil)
	members := paxos.Members{Cluster: "prod", Acceptors: []paxos.ServerID{1, 2}}
	var nets []*tcp.Transport
	var files []*Files
	var dirs []directory
	for _, id := range members.Acceptors {
		d := newDirectory(t)
		d.write(t, "ca.crt", pemOf(a))
		d.put(t, a.issue(id))
		c := d.config(nil)
		c.ID, c.Every = id, 5*time.Millisecond
		f, err := Open(c)
		require.NoError(t, err)
		tr, err := tcp.Listen(tcp.Config{ID: id, Members: members, Addr: "127.0.0.1:0", TLS: f.TLS()})
		require.NoError(t, err)
		defer tr.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.Watch(ctx, tr.SetTLS)
		}()
		defer func() { cancel(); <-done }()
		nets, files, dirs = append(nets, tr), append(files, f), append(dirs, d)
	}
	require.NoError(t, nets[0].SetAddr(2, nets[1].Addr().String()))
	require.NoError(t, nets[1].SetAddr(1, nets[0].Addr().String()))
	talk := func() {
		t.Helper()
		require.Eventually(t, func() bool {
			for _, n := range nets {
				if p := n.Stats().Peers[0]; !p.In || !p.Out {
					return false
				}
			}
			return true
		}, 20*time.Second, time.Millisecond)
	}
	talk()
	for step, change := range []func(i int, id paxos.ServerID){
		func(i int, _ paxos.ServerID) { dirs[i].write(t, "ca.crt", pemOf(a, b)) },
		func(i int, id paxos.ServerID) { dirs[i].put(t, b.issue(id)) },
		func(i int, _ paxos.ServerID) { dirs[i].write(t, "ca.crt", pemOf(b)) },
	} {
		for i, id := range members.Acceptors {
			before := nets[i].Stats().Connected
			change(i, id)
			require.Eventually(t, func() bool { return nets[i].Stats().Connected > before }, 20*time.Second, time.Millisecond, fmt.Sprint(step))
		}
		talk()
	}
	assert.Equal(t, "CN=b", files[0].TLS().Certificates[0].Leaf.Issuer.String())
}

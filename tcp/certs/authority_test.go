package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
)

// made returns an Authority of the cluster "prod" whose files are in a new directory, with those of server 1.
func made(t *testing.T) (*Authority, directory) {
	t.Helper()
	a, err := NewAuthority("prod", 0)
	require.NoError(t, err)
	d := directory(filepath.Join(t.TempDir(), "new", "certs"))
	require.NoError(t, a.Create(string(d)))
	c, err := a.Issue(1, 0)
	require.NoError(t, err)
	require.NoError(t, c.Create(string(d)))
	return a, d
}

// all returns the contents of all files.
func (d directory) all(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(string(d))
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(d.file(e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(text)
	}
	return files
}

func (d directory) mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(d.file(name))
	require.NoError(t, err)
	return info.Mode().Perm()
}

// Open takes the files of an Authority, also of one that was read again. Only the owner can read keys.
func TestAuthority(t *testing.T) {
	a, d := made(t)
	f, err := Open(d.config(nil))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now().Add(90*24*time.Hour), f.Expires(), time.Minute)
	assert.WithinDuration(t, time.Now().Add(900*24*time.Hour), a.Expires(), time.Minute)
	assert.Equal(t, string(a.Cert()), d.all(t)["ca.crt"])
	if runtime.GOOS != "windows" {
		for _, key := range []string{"ca.key", "1.key"} {
			assert.Equal(t, fs.FileMode(0o600), d.mode(t, key), key)
		}
	}
	again, err := ReadAuthority(string(d), "prod")
	require.NoError(t, err)
	c, err := again.Issue(2, time.Hour)
	require.NoError(t, err)
	assert.Equal(t, paxos.ServerID(2), c.ID)
	require.NoError(t, c.Create(string(d)))
	config := d.config(nil)
	config.ID, config.Cert, config.Key = 2, d.file("2.crt"), d.file("2.key")
	f, err = Open(config)
	require.NoError(t, err)
	assert.Equal(t, c.Expires, f.Expires())
}

// Nothing is overwritten unless that was asked for. A failure leaves nothing behind.
func TestNothingIsOverwritten(t *testing.T) {
	a, d := made(t)
	before := d.all(t)
	c, err := a.Issue(1, 0)
	require.NoError(t, err)
	for _, missing := range []string{"", "1.key", "1.crt"} {
		if missing != "" {
			require.NoError(t, os.Remove(d.file(missing)))
		}
		now := d.all(t)
		err := c.Create(string(d))
		require.ErrorIs(t, err, fs.ErrExist, missing)
		assert.ErrorContains(t, err, "tcp: create a certificate of server 1: "+string(d))
		assert.Equal(t, now, d.all(t))
		for name, text := range before {
			d.write(t, name, text)
		}
	}
	other, err := NewAuthority("prod", 0)
	require.NoError(t, err)
	for _, missing := range []string{"", "ca.key", "ca.crt"} {
		if missing != "" {
			require.NoError(t, os.Remove(d.file(missing)))
		}
		now := d.all(t)
		require.ErrorIs(t, other.Create(string(d)), fs.ErrExist, missing)
		assert.Equal(t, now, d.all(t))
		for name, text := range before {
			d.write(t, name, text)
		}
	}
}

// Replace puts new files in the place of the old ones. A key that others could read is then one that they can't.
func TestReplace(t *testing.T) {
	a, d := made(t)
	before := d.all(t)
	require.NoError(t, os.Chmod(d.file("1.key"), 0o644))
	c, err := a.Issue(1, 0)
	require.NoError(t, err)
	require.NoError(t, c.Replace(string(d)))
	after := d.all(t)
	assert.Len(t, after, len(before), "no other file is left: %q", after)
	assert.Equal(t, before["ca.key"], after["ca.key"])
	assert.Equal(t, string(c.Cert), after["1.crt"])
	assert.Equal(t, string(c.Key), after["1.key"])
	if runtime.GOOS != "windows" {
		assert.Equal(t, fs.FileMode(0o600), d.mode(t, "1.key"))
	}
	_, err = Open(d.config(nil))
	require.NoError(t, err)
	require.NoError(t, os.Remove(d.file("1.crt")))
	require.NoError(t, os.Mkdir(d.file("1.crt"), 0o700)) // a rename fails
	require.ErrorContains(t, c.Replace(string(d)), "tcp: replace the certificate of server 1: ")
	entries, err := os.ReadDir(string(d))
	require.NoError(t, err)
	assert.Len(t, entries, len(before), "%v", entries)
}

// A program that reads the old files while they are replaced reads them to their end. So no file is written over.
func TestReplaceKeepsWhatIsBeingRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file can't be replaced there")
	}
	a, d := made(t)
	before := d.all(t)
	c, err := a.Issue(1, 0)
	require.NoError(t, err)
	open := map[string]*os.File{}
	for _, name := range []string{"1.crt", "1.key"} {
		f, err := os.Open(d.file(name))
		require.NoError(t, err)
		defer f.Close()
		open[name] = f
	}
	require.NoError(t, c.Replace(string(d)))
	for name, f := range open {
		text, err := io.ReadAll(f)
		require.NoError(t, err)
		assert.Equal(t, before[name], string(text))
		assert.NotEqual(t, before[name], d.all(t)[name])
	}
}

// A failure in the middle leaves no part of what was to be created. A file that another program has just made stays as it is.
func TestCreateIsWholeOrNothing(t *testing.T) {
	d := newDirectory(t)
	require.ErrorIs(t, create(string(d), file{"1.key", []byte("key"), 0o600}, file{"missing/1.crt", []byte("cert"), 0o644}), fs.ErrNotExist)
	assert.Empty(t, d.all(t))
	d.write(t, "1.key", "another key")
	require.ErrorIs(t, write(d.file("1.key"), file{"1.key", []byte("key"), 0o600}), fs.ErrExist)
	assert.Equal(t, map[string]string{"1.key": "another key"}, d.all(t))
}

// The key goes first: a new certificate always finds its key.
func TestKeyIsReplacedFirst(t *testing.T) {
	a, d := made(t)
	c, err := a.Issue(1, 0)
	require.NoError(t, err)
	require.NoError(t, os.Remove(d.file("1.crt")))
	require.NoError(t, os.MkdirAll(d.file("1.crt/full"), 0o700)) // nothing can take its place
	require.ErrorContains(t, c.Replace(string(d)), "1.crt")
	key, err := os.ReadFile(d.file("1.key"))
	require.NoError(t, err)
	assert.Equal(t, string(c.Key), string(key))
}

// A machine whose clock is some minutes late takes a new certificate at once. No server can act as an authority, not even with a
// certificate that says so.
func TestIssued(t *testing.T) {
	a, d := made(t)
	c, err := a.Issue(1, time.Hour)
	require.NoError(t, err)
	cert, err := parseOne(string(c.Cert), "CERTIFICATE", x509.ParseCertificate)
	require.NoError(t, err)
	for _, c := range []*x509.Certificate{cert, a.cert} {
		assert.True(t, c.NotBefore.Before(time.Now().Add(-50*time.Minute)), c.NotBefore)
	}
	between := newAuthority("between", &authority{a.cert, a.key})
	d.put(t, between.issue(1), between)
	_, err = Open(d.config(nil))
	require.ErrorContains(t, err, "too many intermediates")
}

// A wrong argument and a wrong file are named.
func TestAuthorityErrors(t *testing.T) {
	for want, f := range map[string]func() error{
		`cluster: "": want 1 to`: func() error { _, err := NewAuthority("", 0); return err },
		`cluster: "\xff": want`:  func() error { _, err := NewAuthority("\xff", 0); return err },
		"valid: -1s: want 1s to": func() error { _, err := NewAuthority("prod", -time.Second); return err },
		"valid: 1ns: want 1s to": func() error { _, err := NewAuthority("prod", 1); return err },
	} {
		assert.ErrorContains(t, f(), "tcp: new authority: "+want)
	}
	a, d := made(t)
	_, err := a.Issue(0, 0)
	assert.EqualError(t, err, "tcp: issue a certificate: id: 0 is not a valid ServerID")
	_, err = a.Issue(1, -1)
	assert.ErrorContains(t, err, "tcp: issue a certificate of server 1: valid: -1ns: want 1s to")
	_, err = a.Issue(1, 1000*24*time.Hour)
	assert.ErrorContains(t, err, "and ca.crt expires at ")

	good := d.all(t)
	other, err := NewAuthority("prod", 0)
	require.NoError(t, err)
	leaf, _ := pem.Decode([]byte(good["1.crt"]))
	require.NotNil(t, leaf)
	old := sign(nil, &x509.Certificate{Subject: other.cert.Subject, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(-time.Minute)})
	next := sign(nil, &x509.Certificate{Subject: other.cert.Subject, IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now().Add(time.Minute)})
	for want, change := range map[string]func(){
		"ca.crt is missing, and ":         func() { os.Remove(d.file("ca.crt")) },
		"ca.key is missing, and ":         func() { os.Remove(d.file("ca.key")) },
		"ca.crt: it holds no CERTIFICATE": func() { d.write(t, "ca.crt", "") },
		"ca.crt: it holds a PRIVATE KEY":  func() { d.write(t, "ca.crt", good["ca.key"]) },
		"ca.crt: it holds more than one":  func() { d.write(t, "ca.crt", good["ca.crt"]+string(other.Cert())) },
		"ca.crt: x509: malformed": func() {
			d.write(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})))
		},
		"ca.crt: it is larger than":           func() { d.write(t, "ca.crt", strings.Repeat("\n", 1<<20+1)) },
		"ca.key: it is not the key of ":       func() { d.write(t, "ca.crt", string(other.Cert())) },
		"ca.crt: it is the certificate of no": func() { d.write(t, "ca.crt", good["1.crt"]); d.write(t, "ca.key", good["1.key"]) },
		"ca.crt: it expired at ":              func() { d.write(t, "ca.crt", pemOf(old)); d.write(t, "ca.key", keyOf(old)) },
		"ca.crt: it is not valid before ":     func() { d.write(t, "ca.crt", pemOf(next)); d.write(t, "ca.key", keyOf(next)) },
	} {
		change()
		_, err := ReadAuthority(string(d), "prod")
		assert.ErrorContains(t, err, `tcp: read the authority of "prod": `)
		assert.ErrorContains(t, err, want)
		assert.NotErrorIs(t, err, fs.ErrNotExist)
		for name, text := range good {
			d.write(t, name, text)
		}
	}
	_, err = ReadAuthority(string(d), "dinner")
	assert.ErrorContains(t, err, `ca.crt: it is "authority of prod", not "authority of dinner"`)
	_, err = ReadAuthority(t.TempDir(), "prod")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	if runtime.GOOS != "windows" {
		require.NoError(t, os.Chmod(d.file("ca.key"), 0o640))
		_, err = ReadAuthority(string(d), "prod")
		assert.ErrorContains(t, err, "ca.key: its mode is 0640, so that others may use it: want 0600")
	}
}

// Two servers talk with certificates that were never in a file. Stats tells when each of them expires.
func TestAuthorityTLS(t *testing.T) {
	a, err := NewAuthority("prod", time.Hour) // less than a certificate is valid by default
	require.NoError(t, err)
	members := paxos.Members{Cluster: "prod", Acceptors: []paxos.ServerID{1, 2}}
	var nets []*tcp.Transport
	for _, id := range members.Acceptors {
		config, err := a.TLS(id)
		require.NoError(t, err)
		tr, err := tcp.Listen(tcp.Config{ID: id, Members: members, Addr: "127.0.0.1:0", TLS: config})
		require.NoError(t, err)
		defer tr.Close()
		nets = append(nets, tr)
	}
	assert.True(t, nets[0].Stats().Peers[0].Expires.IsZero(), "it has shown none yet")
	require.NoError(t, nets[0].SetAddr(2, nets[1].Addr().String()))
	require.NoError(t, nets[1].SetAddr(1, nets[0].Addr().String()))
	for _, n := range nets {
		require.Eventually(t, func() bool { p := n.Stats().Peers[0]; return p.In && p.Out }, 20*time.Second, time.Millisecond)
		s := n.Stats()
		assert.WithinDuration(t, a.Expires(), s.Expires, 10*time.Second)
		assert.WithinDuration(t, a.Expires(), s.Peers[0].Expires, 10*time.Second)
	}
}

// The log tells early that certificates expire: once a day, once an hour from the last day on, and as an error when they have.
func TestExpiryIsToldEarly(t *testing.T) {
	for name, c := range map[string]struct {
		warn                time.Duration
		within              time.Duration // how long before the end of the server's certificate the test ends
		warnings, errors    int
		first, file, silent string
	}{
		"by default":         {within: time.Minute - 3*time.Hour, warnings: 29 + 24, errors: 3, first: "left=720h0m0s", file: "1.crt"},
		"by default, before": {within: 30*24*time.Hour + time.Hour, silent: "yes"},
		"two days before":    {warn: 48 * time.Hour, within: 36 * time.Hour, warnings: 1, first: "left=48h0m0s", file: "1.crt"},
		"never":              {warn: -1, within: -time.Hour, silent: "yes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, err := NewAuthority("prod", 0)
				require.NoError(t, err)
				issued, err := a.Issue(1, 0)
				require.NoError(t, err)
				d, b := newDirectory(t), &book{}
				d.write(t, "ca.crt", string(a.Cert()))
				require.NoError(t, issued.Create(string(d)))
				config := d.config(b.logger())
				config.Warn, config.Every = c.warn, 20*time.Minute
				f, err := Open(config)
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					f.Watch(ctx, func(*tls.Config) error { return nil })
				}()
				time.Sleep(time.Until(issued.Expires.Add(-c.within)))
				cancel()
				<-done
				synctest.Wait()
				lines := b.lines()
				if c.silent != "" {
					assert.Empty(t, lines)
					return
				}
				log := strings.Join(lines, "\n")
				assert.Equal(t, c.warnings, strings.Count(log, "level=WARN msg=\"certificates expire soon: renew them\""), log)
				assert.Equal(t, c.errors, strings.Count(log, "level=ERROR msg=\"certificates have expired"), log)
				assert.Contains(t, lines[0], c.first)
				assert.Contains(t, lines[0], c.file)
			})
		})
	}
}

// The end is that of the certificate that expires first, on the way that lasts longest. Renewed certificates end the warnings.
func TestEndOfAChain(t *testing.T) {
	at := func(h int) *x509.Certificate {
		return &x509.Certificate{NotBefore: time.Unix(0, 0), NotAfter: time.Unix(int64(h)*3600, 0)}
	}
	c := Config{Cert: "1.crt", CA: "ca.crt"}
	for _, one := range []struct {
		chains [][]*x509.Certificate
		hours  int
		file   string
	}{
		{[][]*x509.Certificate{{at(3), at(9)}}, 3, "1.crt"},
		{[][]*x509.Certificate{{at(3), at(3)}}, 3, "1.crt"},
		{[][]*x509.Certificate{{at(9), at(3)}}, 3, "ca.crt"},
		{[][]*x509.Certificate{{at(9), at(4), at(7)}}, 4, "1.crt"},
		{[][]*x509.Certificate{{at(9), at(3)}, {at(9), at(8)}, {at(9), at(2)}}, 8, "ca.crt"},
	} {
		e := c.endOf(one.chains)
		assert.Equal(t, end{time.Unix(int64(one.hours)*3600, 0), time.Duration(one.hours) * time.Hour, one.file}, e)
	}
}

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/tcp/certs"
)

// TestCertsAreNotOverwritten: certs writes over nothing, unless it is told -renew. Then the authority stays all the same.
func TestCertsAreNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	run := func(args ...string) error {
		out.Reset()
		return runCerts(t.Context(), &out, append([]string{"-cluster", "lunch", "-dir", dir}, args...))
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(text)
	}
	require.NoError(t, run("1", "2"))
	assert.Contains(t, out.String(), "the authority; give ca.crt to every server")
	authority, one := read("ca.crt"), read("1.crt")
	err := run("1")
	require.ErrorIs(t, err, fs.ErrExist)
	assert.ErrorContains(t, err, "-renew replaces the certificate of a server")
	assert.Equal(t, one, read("1.crt"))
	require.NoError(t, run("3"), "one more server")
	require.NoError(t, run("-renew", "1"))
	assert.NotEqual(t, one, read("1.crt"))
	assert.Equal(t, authority, read("ca.crt"))
	assert.NotContains(t, out.String(), "the authority")
	require.NoError(t, os.Remove(filepath.Join(dir, "ca.crt")))
	require.ErrorContains(t, run("-renew", "1"), "ca.crt is missing, and ")
	for want, args := range map[string][]string{
		"certs: an address is for -renew":               {"1=localhost:7000"},
		"certs: server 1: address localhost: missing":   {"-renew", "1=localhost"},
		`certs: "" is not the ID of a server`:           {"-renew", "=localhost:7000"},
		"certs: -timeout: -1s: want more than 0":        {"-timeout", "-1s", "1"},
		"certs: -days: 0: want 1 to 3650":               {"-days", "0", "1"},
		`certs: "1,2" is not the ID of a server: want `: {"1,2"},
	} {
		var bad usageError
		err := run(args...)
		require.ErrorAs(t, err, &bad)
		assert.ErrorContains(t, err, want)
	}
}

// TestRenewalIsAwaited: certs -renew waits until the servers show their new certificates, and names those that do not.
func TestRenewalIsAwaited(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, makeCerts(dir, "lunch", time.Hour, []paxos.ServerID{1, 2}))
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2}}
	at := func(name string) string { return filepath.Join(dir, name) }
	var addrs []string
	for _, id := range members.Acceptors {
		files, err := certs.Open(certs.Config{Cluster: "lunch", ID: id, CA: at("ca.crt"), Cert: at(fmt.Sprint(id, ".crt")),
			Key: at(fmt.Sprint(id, ".key")), Every: time.Millisecond})
		require.NoError(t, err)
		server, err := tcp.Listen(tcp.Config{ID: id, Members: members, Addr: "127.0.0.1:0", TLS: files.TLS()})
		require.NoError(t, err)
		defer server.Close()
		addrs = append(addrs, fmt.Sprint(id, "=", server.Addr()))
		if id == 2 {
			break // it does not look
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			files.Watch(ctx, func(c *tls.Config) error { return server.SetTLS(c) })
		}()
		defer func() { cancel(); <-ended }()
	}
	var out strings.Builder
	err := runCerts(t.Context(), &out, []string{"-renew", "-timeout", "2500ms", "-days", "1", "-cluster", "lunch", "-dir", dir, addrs[0], addrs[1]})
	require.ErrorContains(t, err, "ca.crt expires at", "its hours are less than a day")
	require.NoError(t, os.Remove(at("ca.crt")))
	require.NoError(t, os.Remove(at("ca.key")))
	err = runCerts(t.Context(), &out, []string{"-renew", "-timeout", "2500ms", "-cluster", "lunch", "-dir", dir, addrs[0], addrs[1]})
	require.ErrorContains(t, err, "server 2 at "+strings.TrimPrefix(addrs[1], "2=")+": it shows another one, until ")
	assert.NotContains(t, err.Error(), "server 1")
	assert.Contains(t, out.String(), "server 1 at "+strings.TrimPrefix(addrs[0], "1=")+" uses its new certificate\n")
	assert.NotContains(t, out.String(), "waiting", "nobody watches")
	err = runCerts(t.Context(), &out, []string{"-renew", "-timeout", "1ms", "-cluster", "lunch", "-dir", dir, "1=127.0.0.1:1"})
	require.ErrorContains(t, err, "copy them there: server 1 at 127.0.0.1:1: ")
}

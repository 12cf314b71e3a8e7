package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxoshttp"
	"github.com/singledecree/paxos/wal"
)

// inOrder holds that the output has these texts, in this order.
func inOrder(t *testing.T, out string, want ...string) {
	t.Helper()
	rest := out
	for _, w := range want {
		_, after, found := strings.Cut(rest, w)
		require.True(t, found, "%q is missing, or too early:\n%s", w, out)
		rest = after
	}
}

// TestGrowReplaceShrink: a cluster of processes grows from 3 to 5 servers, gets a new server for one that was killed, and shrinks. All that
// was decided stays. A server that has left is never started again, and its ServerID never used again, also in the next run.
func TestGrowReplaceShrink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, code := runs(t, "", "-dir", dir, "-c", `propose lunch burger; add 4; add 5; members
		kill 2; replace 2 6; ! start 2; ! add 2; ! replace 3 2; @6 read lunch
		remove 3; ! @3 read lunch; remove 3; ! add 7 127.0.0.1:7; ! @4 remove 4; ! @6 replace 9 10; ! remove 99
		add 6; members; status`)
	require.Zero(t, code, "%s", out)
	inOrder(t, out, "up: 1 2 3\n",
		"> add 4\n", "server 4 is made", "server 1: configuration 1: server 4 is a learner; acceptors 1 2 3, learners 4\n", "up: 1 2 3 4\n",
		"server 1: configuration 2: server 4 is an acceptor; acceptors 1 2 3 4, learners none\n", "server 1: configuration 2 is settled\n",
		"> add 5\n", "acceptors 1 2 3 4 5, learners none\n", "configuration 4 is settled\n",
		"> members\n", "server 1: configuration 4 is settled\n", "    acceptor 1  at 127.0.0.1:", ", this server\n", "    acceptor 5  at 127.0.0.1:", "heard",
		"> kill 2\n", "> replace 2 6\n", "acceptors 1 3 4 5 6, learners none\n", "configuration 6 is settled\n", "server 2 has left for good\n", "up: 1 3 4 5 6\n",
		"> ! start 2\n", "it failed: server 2 has left for good\n",
		"> ! add 2\n", "it failed: server 1: server 2 was a member before: its ServerID is finished",
		"> ! replace 3 2\n", "it failed: server 1: server 2 was a member before: its ServerID is finished",
		"> @6 read lunch\n", `server 6: lunch = "burger"`,
		"> remove 3\n", "acceptors 1 4 5 6, learners none\n", "is settled\n", "server 3 has left for good\n", "up: 1 4 5 6\n",
		"> ! @3 read lunch\n", "it failed: server 3 has left for good\n",
		"> remove 3\n", "server 3 has left for good\n",
		"> ! add 7 127.0.0.1:7\n", "it failed: server 1: this program makes the server",
		"> ! @4 remove 4\n", "it failed: server 4 is the one that leaves: ask another one",
		"> ! @6 replace 9 10\n", "it failed: server 6: server 9 is no acceptor, and has no place to give",
		"> ! remove 99\n", "it failed: server 1: server 99 was never a member\n",
		"> add 6\n", "server 1: configuration 7 is settled\n",
		"> members\n", "    left: 2 3\n", "  configuration 7\n")
	assert.NoFileExists(t, filepath.Join(dir, "7.json"), "a refused server is not made")

	out, code = runs(t, "", "-dir", dir, "-c", `members; read lunch; ! start 3; ! add 3; @5 propose dinner soup; status`)
	require.Zero(t, code, "%s", out)
	inOrder(t, out, "4 servers on", "up: 1 4 5 6\n", "configuration 7 is settled", "    left: 2 3\n", `lunch = "burger"`, "server 3 has left for good",
		"its ServerID is finished", `dinner = "soup"`, "server 6  up  boot 2")
}

// TestMoveAllServers: all servers are replaced, one after the other, and then one of the new ones. The last server is formatted with the
// first ones, of which none is left, and learns of the present ones, though nothing else happens.
func TestMoveAllServers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, code := runs(t, "", "-dir", dir, "-n", "2", "-c", "propose lunch burger; replace 1 3; replace 2 4; ! start 1; ! start 2; replace 3 5; members; @5 read lunch")
	require.Zero(t, code, "%s", out)
	inOrder(t, out, "server 1 has left for good\n", "server 2 has left for good\n", "up: 3 4\n", "configuration 6: server 5 is an acceptor; acceptors 4 5, learners none\n",
		"server 3 has left for good\n", "up: 4 5\n", "    left: 1 2 3\n", `server 5: lunch = "burger"`)
	out, code = runs(t, "", "-dir", dir, "-n", "2", "-c", "@5 read lunch; @4 propose dinner soup")
	require.Zero(t, code, "%s", out)
}

// TestChangeInterrupted: the process is killed at each point of a change at which it has begun something. In the next run the same command
// goes on: no server gets a second storage, and none that is half made is started.
func TestChangeInterrupted(t *testing.T) {
	// The first two points are those at which a change has just been decided.
	points := []string{"is a learner; ", "is an acceptor; ", "before noted", "before storage", "before certificate", "before made", "before begin", "before left", "after left"}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			out := newBook()
			p := &printer{w: out}
			l, err := startLocal(p, program(t), dir, 2)
			require.NoError(t, err)
			kill := func() {
				for _, c := range l.children {
					c.kill()
				}
				cancel()
			}
			p.w = writer(func(text []byte) (int, error) {
				if bytes.Contains(text, []byte(point)) {
					kill()
				}
				return out.Write(text)
			})
			l.interrupt = func(at string) error {
				if at == point {
					kill()
				}
				return ctx.Err()
			}
			s := &session{out: p, timeout: 5 * time.Second, pick: l.pick, other: l.other, keeper: l}
			err = s.script(ctx, strings.NewReader("propose lunch burger; replace 1 3"))
			require.ErrorIs(t, err, errInterrupted, "%s", out)
			require.NoError(t, l.lock.Close())
			stores := map[string]string{}
			for _, name := range []string{"1", "2", "3"} {
				if store := storeOf(t, filepath.Join(dir, name)); store != "" {
					stores[name] = store
				}
			}

			text, code := runs(t, "", "-dir", dir, "-n", "2", "-c", "members; replace 1 3; members; read lunch; propose dinner soup; ! start 1")
			require.Zero(t, code, "%s", text)
			inOrder(t, text, "> replace 1 3\n", "server 1 has left for good\n", "> members\n", "    acceptor 3  at ", "    left: 1\n", `server 2: lunch = "burger"`, `dinner = "soup"`)
			for name, store := range stores {
				assert.Equal(t, store, storeOf(t, filepath.Join(dir, name)), "server %s", name)
			}
			text, code = runs(t, "", "-dir", dir, "-n", "2", "-c", "read dinner")
			require.Zero(t, code, "%s", text)
			inOrder(t, text, "2 servers on", "up: 2 3\n", `server 2: dinner = "soup"`)
		})
	}
}

// TestHalfMadeServerIsGivenUp: a server that was made, and never became a member, is given up by remove. A storage that has run is no new server.
func TestHalfMadeServerIsGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, ledgerFile), []byte(`{"4": {"standing": "making", "addr": "127.0.0.1:9"}}`), 0o600))
	out, code := runs(t, "", "-dir", dir, "-c", "! start 4; propose lunch burger; remove 4; ! add 4; ! start 4")
	require.Zero(t, code, "%s", out)
	inOrder(t, out, "server 4 is half made: the command that makes it goes on\n", "up: 1 2 3\n", "it failed: server 4 is half made", "> remove 4\n", "server 4 has left for good\n",
		"it failed: server 1: server 4 has left for good: take a ServerID that was never used", "it failed: server 4 has left for good")
	one := config{ID: 1, Cluster: localCluster, Acceptors: []paxos.ServerID{1, 2, 3}, Dir: "1"}
	assert.ErrorContains(t, createNew(dir, one), "is the storage of a server that has run")
	out, code = runs(t, "", "-dir", dir, "-c", "add 5")
	require.Zero(t, code, "%s", out)
	require.NoError(t, os.Rename(filepath.Join(dir, "5"), filepath.Join(dir, "6")))
	out, code = runs(t, "", "-dir", dir, "-c", "! add 6")
	require.Zero(t, code, "%s", out)
	inOrder(t, out, "server 5 does not start", "it failed: server 1: server 6: ", "it is the storage of server 5")
	for text, want := range map[string]string{`{"4": {"standing": "sat"}}`: `server 4: "sat"`, `{"4": {"standing": "made"}}`: "is no entry", `{"4`: ledgerFile} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ledgerFile), []byte(text), 0o600))
		out, code := runs(t, "", "-dir", dir, "-c", "status")
		assert.Equal(t, 1, code)
		assert.Contains(t, out, want)
	}
}

// A writer is a function that writes.
type writer func([]byte) (int, error)

func (w writer) Write(text []byte) (int, error) { return w(text) }

// storeOf returns the name of a storage; empty: there is none.
func storeOf(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	log, err := wal.Open(dir, wal.Options{ReadOnly: true})
	require.NoError(t, err)
	defer log.Close()
	state, err := log.Server()
	require.NoError(t, err)
	return fmt.Sprintf("%x", state.Store)
}

// A remote is a cluster of servers that are made and run by hand, as on several machines: servers 1 to 3, and perhaps others later.
type remote struct {
	t     *testing.T
	dir   string // of the configurations, which have the names ID.json, the certificates and the storages
	addrs map[paxos.ServerID]string
	apis  map[paxos.ServerID]string
	ends  map[paxos.ServerID]func()
}

// newRemote makes certificates for servers 1 to certs, and starts servers 1 to 3, which know of no other.
func newRemote(t *testing.T, certs int) *remote {
	r := &remote{t: t, dir: t.TempDir(), addrs: map[paxos.ServerID]string{}, apis: map[paxos.ServerID]string{}, ends: map[paxos.ServerID]func(){}}
	args := []string{"certs", "-cluster", "lunch", "-dir", r.dir}
	for i := range certs {
		args = append(args, fmt.Sprint(i+1))
	}
	out, code := runs(t, "", args...)
	require.Zero(t, code, "%s", out)
	configs, err := localConfigs(3)
	require.NoError(t, err)
	for _, c := range configs {
		c.Cluster = "lunch"
		r.addrs[c.ID] = c.Listen
		r.create(c)
	}
	for id := range r.addrs {
		r.serve(id, "serve", "-config", r.file(id))
	}
	return r
}

func (r *remote) file(id paxos.ServerID) string {
	return filepath.Join(r.dir, fmt.Sprintf("%d.json", id))
}

// create writes the configuration of a server, and creates its storage.
func (r *remote) create(c config) {
	r.t.Helper()
	require.NoError(r.t, c.write(r.file(c.ID)))
	out, code := runs(r.t, "", "create", "-config", r.file(c.ID))
	require.Zero(r.t, code, "%s", out)
}

// serve starts a server, and returns when its API can be reached.
func (r *remote) serve(id paxos.ServerID, args ...string) {
	r.t.Helper()
	cmd, _ := prepare(r.t, args...)
	stdout := newBook()
	cmd.Stdout, cmd.Stderr = stdout, newBook()
	require.NoError(r.t, cmd.Start())
	r.ends[id] = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	r.t.Cleanup(r.ends[id])
	stdout.says(r.t, "\n")
	var s serving
	require.NoError(r.t, json.Unmarshal([]byte(stdout.String()), &s))
	r.apis[id] = s.API
}

// end kills a server.
func (r *remote) end(id paxos.ServerID) { r.ends[id]() }

// call gives commands to a server.
func (r *remote) call(id paxos.ServerID, code int, commands string, flags ...string) string {
	r.t.Helper()
	out, got := runs(r.t, "", append(append([]string{"call", "-api", r.apis[id]}, flags...), commands)...)
	require.Equal(r.t, code, got, "%s", out)
	return out
}

func (r *remote) client(id paxos.ServerID) *client {
	c, err := newClient(r.apis[id])
	require.NoError(r.t, err)
	r.t.Cleanup(c.close)
	return c
}

// TestRemoteChange: a command that the new server keeps waiting says so, and goes on when it is given again. Each refusal has its words.
func TestRemoteChange(t *testing.T) {
	t.Parallel()
	r := newRemote(t, 4)
	addr, err := freeAddr(r.addrs)
	require.NoError(t, err)
	four := config{ID: 4, Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}, Learners: []paxos.ServerID{4}, Listen: addr, Peers: r.addrs,
		CA: "ca.crt", Cert: "4.crt", Key: "4.key", Dir: "4", API: "127.0.0.1:0"}
	r.create(four)
	inOrder(t, r.call(1, 0, "propose lunch burger; ! add 4; ! remove 4; ! replace 1 4 "+addr), "server 4 is no member yet: give the address where the others reach it",
		"server 4 was never a member", "server 1 is the one that leaves: ask another one")
	r.end(3) // its disk is lost
	out := r.call(1, 1, "replace 3 4 "+addr, "-timeout", "300ms")
	assert.NotContains(t, out, "server 1: server 4 was not heard yet", "nobody watches")
	inOrder(t, out, "configuration 1: server 4 is a learner", "no progress for 900ms: server 4 was not heard yet: is it started, and reached at "+addr,
		`server 4 is a learner: "replace 3 4 `+addr+`" goes on, and "remove 4" gives it up`)
	inOrder(t, r.call(1, 0, "members; ! replace 3 4 127.0.0.1:1; ! add 3 "+addr), "acceptor 3", "learner  4  at "+addr+", not heard yet, has 0 of ",
		`server 4 is a member already, and its address is "`+addr+`"`, `server 3 is a member already`)
	r.serve(4, "serve", "-config", r.file(4))
	inOrder(t, r.call(1, 0, "replace 3 4 "+addr), "configuration 2: server 4 is an acceptor; acceptors 1 2 4, learners none", "configuration 2 is settled",
		"server 3 has left: stop it for good")
	inOrder(t, r.call(1, 0, "replace 3 4"), "configuration 2 is settled", "server 3 has left: stop it for good")
	r.end(2)
	inOrder(t, r.call(4, 0, "read lunch; members; ! add 3 "+addr), `server 4: lunch = "burger"`, "    left: 3\n", "its ServerID is finished")
}

// A scripted server answers members with one of these after the other, and the last one again and again. Each change has the next number.
func scripted(t *testing.T, all ...paxoshttp.Membership) (*session, *book) {
	t.Helper()
	var mu sync.Mutex
	number := uint64(0)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/members", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		json.NewEncoder(w).Encode(all[0])
		if len(all) > 1 {
			all = all[1:]
		}
	})
	mux.HandleFunc("POST /v1/change", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var c paxoshttp.Change
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&c))
		number++
		json.NewEncoder(w).Encode(paxoshttp.Membership{Configuration: number, Change: c})
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	reach, err := newClient(strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	t.Cleanup(reach.close)
	out := newBook()
	pick := func(int) (paxos.ServerID, *client, error) { return 1, reach, nil }
	return &session{out: &printer{w: out}, timeout: time.Minute, pick: pick}, out
}

// known is the knowledge of server 1 in a script: the acceptors, how far server 4 is, and the complete ones. Nobody is complete before a change
// is settled.
func known(number uint64, acceptors, learners string, heard string, taken uint64, complete ...paxos.ServerID) paxoshttp.Membership {
	ids := func(text string) (all []paxos.ServerID) {
		for _, c := range text {
			all = append(all, paxos.ServerID(c-'0'))
		}
		return all
	}
	c := paxoshttp.NewChange(paxos.Members{Acceptors: ids(acceptors), Learners: ids(learners), Addresses: map[paxos.ServerID]string{4: "four:7"}})
	return paxoshttp.Membership{ID: 1, Configuration: number, Change: c, Settled: len(complete) > 0, Complete: complete, Index: 100,
		Others: []paxoshttp.Other{{ID: 4, Addr: "four:7", Heard: heard, Taken: taken}}}
}

// TestProgressIsShown: while a new server copies, each line says how far it is.
func TestProgressIsShown(t *testing.T) {
	copying := known(2, "1234", "", "1ms", 100)
	copying.Import = &paxoshttp.Importing{Sources: 2, Done: 1, Records: 30, Goal: 90}
	s, out := scripted(t, known(0, "123", "", "", 0, 1, 2, 3), known(1, "123", "4", "", 0, 1, 2, 3), known(1, "123", "4", "", 0, 1, 2, 3),
		known(1, "123", "4", "1ms", 0, 1, 2, 3), known(1, "123", "4", "2ms", 40, 1, 2, 3), known(1, "123", "4", "1ms", 100, 1, 2, 3),
		copying, copying, known(2, "1234", "", "1ms", 100, 1, 2, 3), known(2, "1234", "", "1ms", 100, 1, 2, 3), known(2, "1234", "", "1ms", 100, 1, 2, 3, 4))
	require.NoError(t, s.script(t.Context(), strings.NewReader("add 4 four:7")))
	assert.Equal(t, `> add 4 four:7
server 1: configuration 1: server 4 is a learner; acceptors 1 2 3, learners 4
server 1: server 4 was not heard yet: is it started, and reached at four:7?
server 1: server 4 has 0 of 100 decisions of server 1
server 1: server 4 has 40 of 100 decisions of server 1
server 1: configuration 2: server 4 is an acceptor; acceptors 1 2 3 4, learners none
server 1: configuration 2 is not settled: complete are servers none of 1 2 3 4; server 1: it has imported 30 of 90 decisions, and all of 1 of 2 servers; server 4 has 100 of 100 decisions of server 1
server 1: configuration 2 is settled
server 1: server 4 does not remember all yet: server 4 has 100 of 100 decisions of server 1
`, out.String())
	s, out = scripted(t, known(0, "123", "", "", 0, 1, 2, 3), known(1, "123", "4", "", 0, 1, 2, 3), known(1, "123", "4", "1ms", 0, 1, 2, 3), known(1, "123", "4", "1ms", 100, 1, 2, 3),
		copying, known(2, "1234", "", "1ms", 100, 1, 2, 3, 4))
	s.quiet = true // as in a pipe
	require.NoError(t, s.script(t.Context(), strings.NewReader("add 4 four:7")))
	assert.Equal(t, `> add 4 four:7
server 1: configuration 1: server 4 is a learner; acceptors 1 2 3, learners 4
server 1: configuration 2: server 4 is an acceptor; acceptors 1 2 3 4, learners none
server 1: configuration 2 is settled
`, out.String())
}

// TestProgressEnds: a change without progress ends with an error that says what to do. One that goes on is waited for, however long it takes.
func TestProgressEnds(t *testing.T) {
	stuck := known(1, "123", "4", "1ms", 7, 1, 2, 3)
	s, _ := scripted(t, known(0, "123", "", "", 0, 1, 2, 3), stuck)
	s.timeout = 20 * time.Millisecond
	err := s.script(t.Context(), strings.NewReader("add 4 four:7"))
	assert.EqualError(t, err, `line 1: add 4 four:7: server 1: no progress for 60ms: server 4 has 7 of 100 decisions of server 1; server 4 is a learner: "add 4 four:7" goes on, and "remove 4" gives it up`)
	s, _ = scripted(t, known(3, "124", "", "1ms", 100))
	s.timeout = 20 * time.Millisecond
	err = s.script(t.Context(), strings.NewReader("remove 2"))
	assert.ErrorContains(t, err, `configuration 3 is decided, and nothing takes it back: a quorum of its acceptors has to run, and one of those before; "remove 2" goes on`)

	slow := []paxoshttp.Membership{known(0, "123", "", "", 0, 1, 2, 3), known(1, "123", "4", "", 0, 1, 2, 3)}
	for taken := range uint64(9) {
		slow = append(slow, known(1, "123", "4", "1ms", 10*taken, 1, 2, 3))
	}
	s, _ = scripted(t, append(slow, known(1, "123", "4", "1ms", 100, 1, 2, 3), known(2, "1234", "", "1ms", 100, 1, 2, 3, 4))...)
	s.timeout = 100 * time.Millisecond // three times that is less than 9 looks take
	require.NoError(t, s.script(t.Context(), strings.NewReader("add 4 four:7")))
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/progress"
	"github.com/singledecree/paxos/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store returns a directory with the storage of server 2, in which 25 instances are not decided and two are.
func store(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, wal.Create(dir, 2, paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}))
	log, err := wal.Open(dir, wal.Options{})
	require.NoError(t, err)
	state, err := log.Server()
	require.NoError(t, err)
	state.Boot, state.Rounds, state.Last = 3, 30, 7
	b := paxos.Batch{Server: &state}
	one := paxos.Ballot{Round: 1, Server: 1}
	for i := range 25 {
		b.Records = append(b.Records, paxos.Record{Instance: fmt.Sprintf("job/%02d", i), Acceptor: paxos.Acceptor{Promised: one}})
	}
	vote := paxos.Acceptor{Promised: paxos.Ballot{Round: 4, Server: 3}, Accepted: one, Value: "tofu"}
	b.Records[0].Acceptor = vote
	b.Records = append(b.Records, paxos.Record{Instance: "a", Acceptor: vote, Chosen: true, Index: 3},
		paxos.Record{Instance: "b", Acceptor: paxos.Acceptor{Accepted: one, Value: paxos.Value(strings.Repeat("x", 100))}, Chosen: true, Index: 7})
	require.NoError(t, log.Save(b))
	require.NoError(t, log.Close())
	return dir
}

func inspect(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(&out, nil, args))
	return out.String()
}

func TestInspect(t *testing.T) {
	dir := store(t)
	out := inspect(t, dir)
	for _, want := range []string{`server     2 of cluster "lunch"`, "acceptors  1,2,3 majority(3)", "boots      3", "none above 30",
		"decided    2, the last with Index 7", "undecided  25", `"job/00": promised 4.3, accepted "tofu" in ballot 1.1`,
		`"job/01": promised 1.1, accepted nothing`, "and 5 more"} {
		assert.Contains(t, out, want)
	}
	assert.NotContains(t, out, "verified")
	assert.NotContains(t, out, "is decided")

	out = inspect(t, dir, "-all", "-verify", "-instance", "a")
	assert.NotContains(t, out, "more:")
	assert.Contains(t, out, "\n\n\"a\" is decided: \"tofu\", in ballot 1.1\n")
	assert.Contains(t, out, `7 "b" is decided: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"… (100 bytes)`)
	assert.True(t, strings.HasSuffix(out, "verified: every checksum matches\n"))
	assert.Contains(t, inspect(t, "-instance=none", dir), `"none": this server remembers nothing of it`)
}

// It changes nothing, and says where something is damaged.
func TestInspectIsReadOnly(t *testing.T) {
	dir := store(t)
	require.NoError(t, os.Remove(filepath.Join(dir, "LOCK")), "as in a snapshot")
	before := contents(t, dir)
	require.NoError(t, os.Chmod(dir, 0o500))
	inspect(t, "-verify", "-all", dir)
	require.NoError(t, os.Chmod(dir, 0o700))
	assert.Equal(t, before, contents(t, dir))

	segment := filepath.Join(dir, "0000000000000001.wal")
	data, err := os.ReadFile(segment)
	require.NoError(t, err)
	data[bytes.Index(data, []byte("tofu"))] ^= 1
	require.NoError(t, os.WriteFile(segment, data, 0o600))
	var out bytes.Buffer
	err = run(&out, nil, []string{"-verify", dir})
	var damage *wal.CorruptionError
	require.ErrorAs(t, err, &damage)
	assert.Equal(t, segment, damage.File)
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = string(data)
	}
	return files
}

func TestInspectUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"a", "b"}, {"-verifi", "a"}} {
		var out bytes.Buffer
		var usage usageError
		require.ErrorAs(t, run(&out, nil, args), &usage, "%v", args)
	}
	assert.Equal(t, usage, inspect(t, "-h"))
	require.ErrorContains(t, run(&bytes.Buffer{}, nil, []string{t.TempDir()}), "there is no storage here")
}

// TestProgress: a person sees how far a check is, and a pipe and the output do not. Before an error the line is clear.
func TestProgress(t *testing.T) {
	dir := store(t)
	var now time.Time
	clock := func() time.Time { now = now.Add(time.Second); return now }
	var terminal, out bytes.Buffer
	require.NoError(t, run(&out, progress.New(&terminal, clock), []string{"-verify", dir}))
	assert.Contains(t, terminal.String(), "\rverify: ")
	assert.True(t, strings.HasSuffix(terminal.String(), " \r"), "%q", &terminal)
	assert.Equal(t, inspect(t, "-verify", dir), out.String())

	segment := filepath.Join(dir, "0000000000000001.wal")
	data, err := os.ReadFile(segment)
	require.NoError(t, err)
	damaged := bytes.Replace(data, []byte("xxxx"), []byte("xxyx"), 1)
	require.NoError(t, os.WriteFile(segment, damaged, 0o600))
	terminal.Reset()
	require.Error(t, run(&out, progress.New(&terminal, clock), []string{"-verify", dir}))
	if terminal.Len() > 0 {
		assert.True(t, strings.HasSuffix(terminal.String(), " \r"), "%q", &terminal)
	}
	require.NoError(t, os.WriteFile(segment, data, 0o600))
	terminal.Reset()
	require.NoError(t, run(&out, progress.New(&terminal, clock), []string{dir}))
	assert.Empty(t, terminal.String(), "it is short")
}

// TestServersBelow: a directory of storages says which servers are in it, and how to inspect each. It skips other folders.
func TestServersBelow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "two words")
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 10}}
	for _, id := range []paxos.ServerID{10, 2, 1} {
		require.NoError(t, wal.Create(filepath.Join(dir, fmt.Sprint(uint64(id))), id, members))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "backup"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "created"), []byte("x"), 0o600))
	running, err := wal.Open(filepath.Join(dir, "10"), wal.Options{})
	require.NoError(t, err)
	defer running.Close()
	before := contents(t, filepath.Join(dir, "2"))
	out := inspect(t, dir)
	assert.Equal(t, before, contents(t, filepath.Join(dir, "2")))
	for _, id := range []string{"1", "2"} {
		assert.Contains(t, out, "  "+filepath.Join(dir, id)+"  server "+id+` of cluster "lunch", 0 decided, 0 not`+"\n")
	}
	assert.Less(t, strings.Index(out, "server 1 of"), strings.Index(out, "server 2 of"))
	assert.Contains(t, out, filepath.Join(dir, "10")+"  its server is running\n")
	assert.Less(t, strings.Index(out, "server 2 of"), strings.Index(out, "running"))
	assert.NotContains(t, out, "backup")
	assert.NotContains(t, out, "created")
	assert.Contains(t, out, "go run ./examples/inspect ")
	require.NoError(t, running.Close())
	assert.Contains(t, inspect(t, dir), fmt.Sprintf("    go run ./examples/inspect %q\n", filepath.Join(dir, "1")))

	var listed bytes.Buffer
	err = run(&listed, nil, []string{"-verify", dir})
	require.ErrorContains(t, err, "which one? It has 3 servers")
	assert.Contains(t, listed.String(), "server 1 of", "it says so all the same")
	require.ErrorContains(t, run(&bytes.Buffer{}, nil, []string{filepath.Join(dir, "none")}), "there is no storage here")
}

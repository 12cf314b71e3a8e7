package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/progress"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain has the test binary be the child of inChild, too.
func TestMain(m *testing.M) {
	if isChild() {
		os.Exit(child(os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"-servers 3,x":       `-servers: "3,x": want numbers from 1 to 9 with commas between them`,
		"-servers 10":        `-servers: "10": want numbers from 1 to 9 with commas between them`,
		"-callers 0":         `-callers: "0": want numbers from 1 to 4096 with commas between them`,
		"-values 2000000":    `-values: "2000000": want numbers from 1 to 1048576 with commas between them`,
		"-only (":            "-only: error parsing regexp: missing closing ): `(`",
		"-sweep -gap":        "-sweep, -gap and -change: one at a time",
		"-change -gap":       "-sweep, -gap and -change: one at a time",
		"-change -decided 0": "-decided and -beside: want 1 to 10000000",
		"-gap disk":          `"disk" is not a flag`,
		"-only zebra -list":  "-only: nothing of the plan matches zebra",
	} {
		assert.EqualError(t, bench(t.Context(), strings.Fields(args), &bytes.Buffer{}, nil), want, args)
	}
	o, err := parse(strings.Fields("-servers 3,5,3 -seconds 0.2"))
	require.NoError(t, err)
	assert.Equal(t, []int{3, 5}, o.servers)
	assert.Equal(t, 3, o.rounds)
	assert.Equal(t, "200ms 50ms", o.window.String()+" "+o.warm.String())
}

// TestList holds the list of runs and its order: runs that are compared follow each other.
func TestList(t *testing.T) {
	for name, args := range map[string]string{"compare": "-list", "sweep": "-list -sweep -huge", "gap": "-list -gap", "change": "-list -change"} {
		var out bytes.Buffer
		require.NoError(t, bench(t.Context(), strings.Fields(args), &out, nil))
		golden(t, name+".txt", out.String())
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		assert.Len(t, distinctStrings(lines), len(lines), "no two runs of %s have one name", name)
	}
}

func distinctStrings(all []string) map[string]bool {
	once := map[string]bool{}
	for _, s := range all {
		once[s] = true
	}
	return once
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test . -update rewrites %s", file)
}

// TestProgress: a person sees each run and its result. In a pipe there is the report alone.
func TestProgress(t *testing.T) {
	args := []string{"-rounds", "2", "-seconds", "0.02", "-only", "^floor/loopback", "-dir", t.TempDir()}
	var terminal, out bytes.Buffer
	require.NoError(t, bench(t.Context(), args, &out, progress.New(&terminal, time.Now)))
	seen := terminal.String()
	for _, want := range []string{"\r1 of 2, floor/loopback round trip: 0 %", "\r2 of 2, floor/loopback round trip: 50 %"} {
		assert.Contains(t, seen, want)
	}
	assert.Equal(t, 2, strings.Count(seen, "\rfloor/loopback round trip: "), "%q", seen)
	assert.NotContains(t, out.String(), "1 of 2")
	assert.True(t, strings.HasPrefix(out.String(), "\n"), "the report: %.40q", out.String())
}

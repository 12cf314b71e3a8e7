package proof_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/internal/script"
)

var update = flag.Bool("update", false, "rewrite the golden traces")

// TestTrace plays the scripts of testdata/trace and compares all that happens with what the files say. With -update the
// files are rewritten; the expectations of a script must hold all the same.
func TestTrace(t *testing.T) { playAll(t, "testdata/trace") }

// TestRegress does so with testdata/regress: a file, or several, for each of the bugs of other implementations that a
// script can show.
func TestRegress(t *testing.T) {
	names := playAll(t, "testdata/regress")
	for _, pitfall := range strings.Fields("P1 P3 P4 P5 P6 P8 P9 P10 P11 P15 P16 P17 P20 P29") {
		assert.True(t, slices.ContainsFunc(names, func(name string) bool {
			return name == pitfall || strings.HasPrefix(name, pitfall+"-")
		}), "no script for %s", pitfall)
	}
}

func playAll(t *testing.T, folder string) (names []string) {
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		names = append(names, name)
		t.Run(name, func(t *testing.T) { playFile(t, file) })
	}
	return names
}

func playFile(t *testing.T, file string) {
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(want), "# "), "the file begins with a comment that says what it is about")
	got, err := script.Play(string(want))
	require.NoError(t, err, "%s", got[max(0, len(got)-4000):])
	if *update && got != string(want) {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o666))
		want = []byte(got)
	}
	require.Equal(t, string(want), got, "go test -run '%s' ./internal/proof -update rewrites the file", t.Name())
}

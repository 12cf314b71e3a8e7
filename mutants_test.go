package paxos_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var mutants = flag.Bool("mutants", false, "apply each sabotage of testdata/mutants.txt and demand that a test catches it")

// A mutant is one sabotage: lines of one file, and what to put in their place.
type mutant struct {
	name, file, run string
	flags           []string
	safe            bool
	unseen          string // why no schedule shows it, so that the swarm can't
	old, new        []string
}

// TestMutantsApply holds that every sabotage still fits the code, so that none is forgotten when the code moves on.
func TestMutantsApply(t *testing.T) {
	for _, m := range readMutants(t) {
		t.Run(m.name, func(t *testing.T) { m.apply(t) })
	}
}

// TestMutantsAreCaught builds this package's tests with each sabotage in turn, in an overlay, and runs first the tests
// that are known to catch it, then all the others, up to the first that fails. Then the swarm has to find it, too, in one of
// its first 20,000 seeds, unless no schedule can show it.
func TestMutantsAreCaught(t *testing.T) {
	if !*mutants {
		t.Skip("give -mutants: it takes minutes")
	}
	ms := readMutants(t)
	lines := make([]string, len(ms))
	t.Run("all", func(t *testing.T) {
		for i, m := range ms {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				binary := m.build(t)
				caught, seed := m.caughtBy(t, binary), m.foundBy(t, binary)
				if m.run == "" {
					caught = "the swarm alone"
				}
				switch {
				case m.safe:
					assert.Empty(t, caught+seed, "expected to be harmless")
					caught, seed = "harmless, as expected", "-"
				default:
					assert.NotEmpty(t, caught, "nothing caught it")
				}
				lines[i] = fmt.Sprintf("%-80s %-60s %s", m.name, caught, seed)
			})
		}
	})
	t.Logf("what caught each, and the first seed of the swarm that did:\n%s", strings.Join(lines, "\n"))
}

// readMutants parses testdata/mutants.txt.
func readMutants(t *testing.T) (ms []*mutant) {
	text, err := os.ReadFile(filepath.Join("testdata", "mutants.txt"))
	require.NoError(t, err)
	var m *mutant
	var part *[]string
	for i, line := range strings.Split(string(text), "\n") {
		name, isName := strings.CutPrefix(line, "=== ")
		key, value, isField := strings.Cut(line, ": ")
		switch {
		case isName:
			m, part = &mutant{name: name}, nil
			ms = append(ms, m)
		case m == nil:
		case line == "--- old":
			m.old = append(m.old, "")
			part = &m.old
		case line == "--- new":
			m.new = append(m.new, "")
			part = &m.new
		case part != nil:
			(*part)[len(*part)-1] += line + "\n"
		case isField && m.set(key, value):
		case line != "":
			t.Fatalf("testdata/mutants.txt:%d: %q", i+1, line)
		}
	}
	require.NotEmpty(t, ms)
	for _, m := range ms {
		require.Len(t, m.new, len(m.old), "%s: as many new parts as old ones", m.name)
		require.NotEmpty(t, m.old, m.name)
	}
	return ms
}

func (m *mutant) set(key, value string) bool {
	switch key {
	case "file":
		m.file = value
	case "run":
		m.run = value
	case "flags":
		m.flags = strings.Fields(value)
	case "unseen":
		m.unseen = value
	case "expect":
		m.safe = value == "safe"
	default:
		return false
	}
	return true
}

// apply returns the sabotaged file.
func (m *mutant) apply(t *testing.T) string {
	text, err := os.ReadFile(m.file)
	require.NoError(t, err)
	s := string(text)
	for i := range m.old {
		old, replacement := strings.TrimSpace(m.old[i]), strings.TrimSpace(m.new[i])
		require.Equal(t, 1, strings.Count(s, old), "%s must hold this once:\n%s", m.file, old)
		s = strings.Replace(s, old, replacement, 1)
	}
	return s
}

// build compiles this package's tests with the sabotage, and returns the program.
func (m *mutant) build(t *testing.T) string {
	dir := t.TempDir()
	sabotaged := filepath.Join(dir, "sabotaged.go")
	require.NoError(t, os.WriteFile(sabotaged, []byte(m.apply(t)), 0o600))
	original, err := filepath.Abs(m.file)
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: sabotaged}})
	require.NoError(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(overlayFile, overlay, 0o600))
	binary := filepath.Join(dir, "sabotaged.test")
	out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "it must compile: %s", out)
	return binary
}

// caughtBy returns the first test that fails, or an empty string.
func (m *mutant) caughtBy(t *testing.T, binary string) string {
	if m.run == "" {
		return ""
	}
	tries := [][]string{append([]string{"-test.run", m.run}, m.flags...)}
	if !m.safe {
		tries = append(tries, []string{"-test.run", "."})
	}
	for _, args := range tries {
		args = append(args, "-test.failfast", "-test.timeout=2m", "-test.skip", "Mutants|PaperTable|Imports|Swarm")
		out, err := exec.Command(binary, args...).CombinedOutput()
		if err != nil {
			return firstFailure(string(out))
		}
		require.NotContains(t, string(out), "no tests to run", "run: %s", m.run)
	}
	return ""
}

var foundSeed = regexp.MustCompile(`seed (\d+):? `)

// foundBy returns the first seed of the swarm that fails, or an empty string if none of 20,000 does.
func (m *mutant) foundBy(t *testing.T, binary string) string {
	if m.unseen != "" {
		return "no schedule shows it: " + m.unseen
	}
	out, err := exec.Command(binary, "-test.run", "^TestSwarm$", "-swarm.seeds", "20000", "-test.timeout", "5m").CombinedOutput()
	seed := foundSeed.FindSubmatch(out)
	switch {
	case err == nil:
		assert.True(t, m.safe, "no seed found it")
		return ""
	case seed == nil:
		return "the swarm fails without a seed: " + string(out[:min(len(out), 300)])
	}
	return "seed " + string(seed[1])
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*|fatal error: .*)$`)

// firstFailure names the innermost test that failed first, or the panic.
func firstFailure(out string) string {
	name := "it failed without a test: " + out[:min(len(out), 200)]
	for i, match := range failure.FindAllStringSubmatch(out, -1) {
		found := match[1] + match[2]
		if i > 0 && !strings.HasPrefix(found, name+"/") {
			break
		}
		name = found
	}
	return name
}

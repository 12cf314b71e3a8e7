package proof_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var mutants = flag.Bool("mutants", false, "apply each sabotage of testdata/mutants.txt and demand that a test catches it")

var mutantsSwarm = flag.Bool("mutants.swarm", false, "with -mutants: demand that the swarm finds each, too")

// repository is the way from this package to the root.
const repository = "../.."

// A mutant is one sabotage: lines of one file, and other lines in their place.
type mutant struct {
	name, file, run string
	flags           []string
	safe            bool
	unseen          string // why no schedule shows it, so that the swarm can't
	old, new        []string
	dir             string // of its overlay and its programs
	number          int    // in programs with many; 0: it has programs of its own

	building, testing time.Duration // of processors
	caught, caughtIn  string        // the first test that failed, and its package
}

// TestMutantsApply holds that every sabotage still fits the code, so that none is forgotten when the code moves on.
func TestMutantsApply(t *testing.T) {
	for _, m := range readMutants(t) {
		t.Run(m.name, func(t *testing.T) { m.apply(t) })
	}
}

// TestMutantsAreCaught builds the tests with the sabotages, in an overlay, and turns on one after the other. It runs the tests that are
// known to catch it, then all of its own package, up to the first that fails. Those tests have to pass while no sabotage is on. The
// swarm has to find it, too, in one of its first 20,000 seeds, unless no schedule can show it: with -mutants.swarm each, else those
// that no test is named for.
func TestMutantsAreCaught(t *testing.T) {
	if !*mutants {
		t.Skip("give -mutants: it takes minutes")
	}
	ms := readMutants(t)
	blendMutants(t, ms)
	lines := make([]string, len(ms))
	t.Run("all", func(t *testing.T) {
		for i, m := range ms {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				if m.number == 0 {
					m.prepare(t)
				}
				m.runTests(t)
				caught, seed := m.caught, "not asked"
				if m.run == "" {
					caught = "the swarm alone"
				}
				if m.run == "" || *mutantsSwarm {
					seed = m.foundBy(t)
				}
				switch {
				case m.safe:
					assert.Empty(t, caught, "expected to be harmless")
					caught = "harmless, as expected"
				default:
					assert.NotEmpty(t, caught, "nothing caught it")
				}
				took := fmt.Sprintf("%5.1f s", m.testing.Seconds())
				if m.number == 0 {
					took += fmt.Sprintf(", and %.1f s to build it alone", m.building.Seconds())
				}
				lines[i] = fmt.Sprintf("%-80s %-60s %s  %s", m.name, caught, seed, took)
			})
		}
	})
	passWithout(t, ms)
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" }) // that -run leaves out
	t.Logf("what caught each, the first seed of the swarm that did, and the time of processors:\n%s", strings.Join(lines, "\n"))
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
	text, err := os.ReadFile(filepath.Join(repository, m.file))
	require.NoError(t, err)
	s := string(text)
	for i := range m.old {
		old, replacement := strings.TrimSpace(m.old[i]), strings.TrimSpace(m.new[i])
		require.Equal(t, 1, strings.Count(s, old), "%s must hold this once:\n%s", m.file, old)
		s = strings.Replace(s, old, replacement, 1)
	}
	return s
}

// testedIn are the packages whose tests a sabotage is tried on. swarmIn is that of the swarm.
var testedIn = []string{".", "replica", "node", "memory", "internal/change", "internal/durable", "internal/standing", "internal/proof", "recipe/once", "recipe/term",
	"recipe/idempotency", "recipe/sequence", "recipe/commit"}

const swarmIn = "internal/proof"

// notTried are the tests that no sabotage is tried on.
const notTried = "Mutants|PaperTable|Imports|Swarm"

// prepare writes the sabotage into an overlay.
func (m *mutant) prepare(t *testing.T) {
	m.dir = t.TempDir()
	sabotaged := filepath.Join(m.dir, "sabotaged.go")
	require.NoError(t, os.WriteFile(sabotaged, []byte(m.apply(t)), 0o600))
	original, err := filepath.Abs(filepath.Join(repository, m.file))
	require.NoError(t, err)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{original: sabotaged}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(m.dir, "overlay.json"), overlay, 0o600))
}

// build builds the tests of a package with the overlay, once, and returns the program.
func (m *mutant) build(t *testing.T, in string) (binary string) {
	binary = filepath.Join(m.dir, strings.NewReplacer("/", "-", ".", "root").Replace(in)+".test")
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(m.dir, "overlay.json"), "-o", binary, "./"+in)
	build.Dir = repository
	out, err := build.CombinedOutput()
	m.building += cpu(build)
	require.NoError(t, err, "it must compile: %s", out)
	return binary
}

// test runs tests of a package with the sabotage, up to the first that fails.
func (m *mutant) test(t *testing.T, in string, args ...string) (out string, err error) {
	run := exec.Command(m.build(t, in), args...)
	run.Dir = filepath.Join(repository, in)
	run.Env = append(os.Environ(), whichSabotage+"="+strconv.Itoa(m.number))
	all, err := run.CombinedOutput()
	m.testing += cpu(run)
	return string(all), err
}

// cpu is the time of processors that a command took, those that it started too.
func cpu(c *exec.Cmd) time.Duration {
	if c.ProcessState == nil {
		return 0
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime()
}

var testName = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)

// holding returns the packages that have a test which run names, the one of the sabotaged file first.
func (m *mutant) holding(t *testing.T) (packages []string) {
	pattern, err := regexp.Compile(m.run)
	require.NoError(t, err)
	for _, in := range testedIn {
		files, err := filepath.Glob(filepath.Join(repository, in, "*_test.go"))
		require.NoError(t, err)
		holds := slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			return slices.ContainsFunc(testName.FindAllSubmatch(text, -1), func(name [][]byte) bool { return pattern.Match(name[1]) })
		})
		switch {
		case holds && in == path.Dir(m.file):
			packages = slices.Insert(packages, 0, in)
		case holds:
			packages = append(packages, in)
		}
	}
	require.NotEmpty(t, packages, "no test has a name like %s", m.run)
	return packages
}

// runTests finds the first test that fails, if any does.
func (m *mutant) runTests(t *testing.T) {
	if m.run == "" {
		return
	}
	for _, in := range m.holding(t) {
		if m.fails(t, in, append([]string{"-test.run", m.run}, m.flags...)...) {
			return
		}
	}
	if !m.safe {
		m.fails(t, path.Dir(m.file), "-test.run", ".")
	}
}

func (m *mutant) fails(t *testing.T, in string, args ...string) bool {
	args = append(args, "-test.failfast", "-test.timeout=2m", "-test.skip", notTried)
	out, err := m.test(t, in, args...)
	if err != nil {
		m.caught, m.caughtIn = firstFailure(out), in
	}
	return err != nil
}

var foundSeed = regexp.MustCompile(`seed (\d+):? `)

// foundBy returns the first seed of the swarm that fails, or an empty string if none of 20,000 does.
func (m *mutant) foundBy(t *testing.T) string {
	if m.unseen != "" {
		return "no schedule shows it: " + m.unseen
	}
	out, err := m.test(t, swarmIn, "-test.run", "^TestSwarm$", "-swarm.seeds", "20000", "-test.timeout", "5m")
	seed := foundSeed.FindStringSubmatch(out)
	switch {
	case err == nil:
		assert.True(t, m.safe, "no seed found it")
		return ""
	case seed == nil:
		return "the swarm fails without a seed: " + out[:min(len(out), 300)]
	}
	return "seed " + seed[1]
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

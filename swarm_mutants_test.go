package paxos_test

import (
	"flag"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

var swarmMutants = flag.Bool("swarm.mutants", false, "have the swarm look for each sabotage of testdata/mutants.txt, in 20,000 seeds each")

var foundSeed = regexp.MustCompile(`seed (\d+):? `)

// TestSwarmFindsMutants measures the swarm: each sabotage must break an invariant in one of the first 20,000 seeds.
func TestSwarmFindsMutants(t *testing.T) {
	if !*swarmMutants {
		t.Skip("give -swarm.mutants: it takes minutes")
	}
	var lines []string
	for _, m := range readMutants(t) {
		t.Run(m.name, func(t *testing.T) {
			began := time.Now()
			binary := m.build(t)
			built := time.Since(began)
			out, err := exec.Command(binary, "-test.run", "^TestSwarm$", "-swarm.seeds", "20000", "-test.timeout", "5m").CombinedOutput()
			found := "not found"
			if err != nil {
				found = "found, but not by a seed: " + string(out[:min(len(out), 300)])
				if seed := foundSeed.FindSubmatch(out); seed != nil {
					found = "seed " + string(seed[1])
				}
			}
			lines = append(lines, fmt.Sprintf("%-80s %s (%s)", m.name, found, (time.Since(began)-built).Round(time.Millisecond)))
			switch {
			case m.safe:
				assert.NoError(t, err, "expected to be harmless")
			case m.unseen != "":
				assert.NoError(t, err, "said to be beyond any schedule: %s", m.unseen)
			default:
				assert.Error(t, err, "no seed found it")
			}
		})
	}
	t.Logf("what found each:\n%s", strings.Join(lines, "\n"))
}

package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mattn/go-shellwords"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sectionOf returns the indented lines of a section of docs/operations.md.
func sectionOf(t *testing.T, heading string) (lines []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "\n### "+heading+"\n")
	require.True(t, found, "%s", heading)
	rest, _, _ = strings.Cut(rest, "\n#")
	for line := range strings.Lines(rest) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, strings.TrimSuffix(text, "\n"))
		}
	}
	require.NotEmpty(t, lines, "%s", heading)
	return lines
}

// between returns the lines from one to another.
func between(t *testing.T, lines []string, first, last string) []string {
	t.Helper()
	from, to := slices.Index(lines, first), slices.Index(lines, last)
	require.True(t, from >= 0 && to > from)
	return lines[from : to+1]
}

// words returns the words of a command line.
func words(t *testing.T, line string) []string {
	t.Helper()
	all, err := shellwords.Parse(line)
	require.NoError(t, err, "%s", line)
	return all
}

// execLines returns the arguments of the program in those lines that run it inside of a container or under another user.
func execLines(t *testing.T, lines []string) (all [][]string) {
	t.Helper()
	for _, line := range lines {
		for _, program := range []string{image, installed} {
			if _, args, found := strings.Cut(line, " "+program+" "); found && !strings.HasPrefix(line, "CGO_ENABLED") {
				all = append(all, words(t, args))
			}
		}
	}
	return all
}

// stopGrace is the time in seconds within which serve ends, as the program has it.
func stopGrace(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "cluster", "main.go"))
	require.NoError(t, err)
	found := regexp.MustCompile(`const stopGrace = (\d+) \* time.Second`).FindSubmatch(text)
	require.NotNil(t, found)
	seconds, err := strconv.ParseInt(string(found[1]), 10, 64)
	require.NoError(t, err)
	return seconds
}

// TestPage: each file that a command of the page names is there, and the commands name what the files have.
func TestPage(t *testing.T) {
	made := []string{"deploy/compose/certs"} // by a command of the page
	files := 0
	for _, section := range []string{"Kubernetes", "systemd", "Compose"} {
		for _, line := range sectionOf(t, section) {
			for _, file := range regexp.MustCompile(`\bdeploy/[\w./-]*`).FindAllString(line, -1) {
				if files++; !slices.Contains(made, file) {
					assert.FileExists(t, filepath.Join("..", "..", file), "%s", line)
				}
			}
		}
	}
	assert.Greater(t, files, 10)

	o := manifests(t)
	lines := sectionOf(t, "Kubernetes")
	text := strings.Join(lines, "\n")
	var keys []string
	for _, found := range regexp.MustCompile(`--from-file=certs/(\S+)`).FindAllStringSubmatch(text, -1) {
		keys = append(keys, found[1])
	}
	secret := volume(t, o.set.Spec.Template.Spec, "certs").Secret
	assert.Contains(t, text, "kubectl create secret generic "+secret.SecretName+" ")
	for _, item := range secret.Items {
		assert.Contains(t, keys, item.Key)
	}
	assert.NotContains(t, keys, "ca.key")
	assert.Contains(t, text, "statefulset/"+o.set.Name)
	assert.Contains(t, text, "kubectl delete pod -l app="+o.set.Spec.Template.Labels["app"])
	assert.Contains(t, text, "kubectl logs -l job="+createJob(t, 0).Spec.Template.Labels["job"])
	for ordinal := 1; ordinal < 4; ordinal++ {
		assert.Contains(t, lines, "sed 's/paxos-0/"+podName(ordinal)+"/g' deploy/kubernetes/create.yaml | kubectl create -f -")
	}
	tag := regexp.MustCompile(`-t (\S+) `).FindStringSubmatch(text)
	require.NotNil(t, tag)
	assert.Equal(t, tag[1]+":latest", container(t, o.set.Spec.Template.Spec).Image)
}

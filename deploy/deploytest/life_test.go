package deploytest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A life is how the files run three servers.
type life struct {
	places []*place
	create [][]string // for each server
	serve  [][]string
	livez  []string
	readyz []string
	call   []string
	dir    string // the storage
}

// begin creates the storages and starts the servers, as the page says. No start creates one.
func (l *life) begin(t *testing.T) {
	t.Helper()
	for i, p := range l.places {
		require.NoError(t, os.MkdirAll(filepath.Join(p.root, filepath.Dir(l.dir)), 0o700)) // the volume, which is empty
		out, status := p.run(l.serve[i]...)
		assert.Equal(t, 1, status, "an empty volume is refused")
		assert.Contains(t, out, "its storage is lost")
		out, status = p.run(l.create[i]...)
		require.Zero(t, status, "%s", out)
		out, status = p.run(l.create[i]...)
		assert.Equal(t, 1, status, "a second create is refused: %s", out)
	}
	for i, p := range l.places {
		p.start(l.serve[i])
	}
	for _, p := range l.places {
		p.becomes(0, l.readyz)
	}
}

// runs goes through the life of three servers, up to the loss of a volume.
func (l *life) runs(t *testing.T) {
	t.Helper()
	l.begin(t)
	out, status := l.places[0].run(l.call...)
	require.Zero(t, status, "%s", out)
	assert.Contains(t, out, `lunch = "burger"`)

	// Two of three stop. The third can't be asked, and nothing restarts it.
	l.places[1].stop()
	l.places[2].stop()
	l.places[0].becomes(1, l.readyz)
	out, status = l.places[0].run(l.livez...)
	assert.Zero(t, status, "livez asks no quorum: %s", out)

	l.places[1].start(l.serve[1])
	l.places[0].becomes(0, l.readyz)
	l.places[1].becomes(0, l.readyz)

	// The volume of server 3 is lost: its server does not come back by itself.
	require.NoError(t, os.RemoveAll(filepath.Join(l.places[2].root, l.dir)))
	out, status = l.places[2].run(l.serve[2]...)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "its storage is lost")
	assert.NoDirExists(t, filepath.Join(l.places[2].root, l.dir))
}

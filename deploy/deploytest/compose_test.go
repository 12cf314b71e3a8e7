package deploytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// services are those of compose/compose.yaml, in the order of their ServerIDs.
var services = []string{"one", "two", "three"}

// project reads compose/compose.yaml as Compose does, against its schema.
func project(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "compose", "compose.yaml"))
	require.NoError(t, err)
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{WorkingDir: filepath.Dir(file), ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: types.Mapping{}})
	require.NoError(t, err)
	require.Len(t, p.Services, len(services))
	return p
}

// composeArgs returns the arguments of the program in the lines of the page with that command of Compose.
func composeArgs(t *testing.T, command string) (all map[string][]string) {
	t.Helper()
	all = map[string][]string{}
	for _, line := range sectionOf(t, "Compose") {
		if rest, found := strings.CutPrefix(line, "docker compose -f deploy/compose/compose.yaml "+command+" "); found {
			args := words(t, rest)
			require.Empty(t, all[args[0]], "%s", line)
			all[args[0]] = args[1:]
		}
	}
	return all
}

// TestComposeRuns goes through the life of three containers with their configurations, mounts and command lines.
func TestComposeRuns(t *testing.T) {
	p := project(t)
	create := composeArgs(t, "run --rm")
	l := life{dir: "/var/lib/paxos/data", livez: []string{"probe", "livez"}}
	l.call = composeArgs(t, "exec")["one"]
	require.Equal(t, image, l.call[0])
	l.call = l.call[1:]
	for i, name := range services {
		l.places = append(l.places, newPlace(t, i+1, name))
		l.serve, l.create = append(l.serve, p.Services[name].Command), append(l.create, create[name])
	}
	test := p.Services["one"].HealthCheck.Test
	require.Equal(t, types.HealthCheckTest{"CMD", image}, test[:2], "there is no shell")
	l.readyz = test[2:]
	certs := certificates(t, "1", "2", "3")
	for i, name := range services {
		for _, v := range p.Services[name].Volumes {
			switch {
			case v.Type == types.VolumeTypeVolume:
				assert.Equal(t, filepath.Dir(l.dir), v.Target)
			case filepath.Ext(v.Source) == ".json":
				text, err := os.ReadFile(v.Source)
				require.NoError(t, err)
				assert.Equal(t, l.dir, read(t, text).Dir)
				l.places[i].configure(v.Target, text, l.places)
			default:
				assert.Equal(t, "certs", filepath.Base(filepath.Dir(v.Source)))
				l.places[i].copyFile(filepath.Join(certs, filepath.Base(v.Source)), v.Target)
			}
		}
	}
	l.runs(t)
}

// TestCompose: each service only serves, on a volume of its own, with its own key and no right that it does not need.
func TestCompose(t *testing.T) {
	p := project(t)
	volumes := map[string]bool{}
	for i, name := range services {
		s := p.Services[name]
		assert.Equal(t, "serve", s.Command[0], "%s", name)
		assert.Empty(t, s.Entrypoint, "%s: the image has it", name)
		assert.Empty(t, s.PostStart, "%s", name)
		assert.Equal(t, types.RestartPolicyUnlessStopped, s.Restart)
		assert.Greater(t, int64(time.Duration(*s.StopGracePeriod)/time.Second), stopGrace(t))
		assert.True(t, s.ReadOnly)
		assert.Equal(t, []string{"ALL"}, s.CapDrop)
		assert.Equal(t, []string{"no-new-privileges:true"}, s.SecurityOpt)
		assert.Empty(t, s.Ports, "the API is on a loopback address of the container")
		assert.Equal(t, s.HealthCheck, p.Services["one"].HealthCheck)
		assert.Equal(t, "readyz", s.HealthCheck.Test[len(s.HealthCheck.Test)-1])
		limit, err := time.ParseDuration(s.HealthCheck.Test[len(s.HealthCheck.Test)-2])
		require.NoError(t, err)
		assert.Less(t, limit, time.Duration(*s.HealthCheck.Timeout))
		dockerfile := filepath.Join(s.Build.Context, s.Build.Dockerfile)
		assert.FileExists(t, dockerfile)
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume {
				assert.False(t, volumes[v.Source], "%s: two servers on one volume", v.Source)
				assert.Contains(t, p.Volumes, v.Source)
				volumes[v.Source] = true
				continue
			}
			assert.True(t, v.ReadOnly, "%s", v.Source)
			if strings.HasSuffix(v.Source, ".key") {
				assert.Equal(t, string(rune('1'+i))+".key", filepath.Base(v.Source))
			}
		}
	}
	assert.Len(t, volumes, len(services))
}

package deploytest

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// objects is kubernetes/paxos.yaml.
type objects struct {
	config  core.ConfigMap
	service core.Service
	network networking.NetworkPolicy
	budget  policy.PodDisruptionBudget
	set     apps.StatefulSet
}

// manifests reads kubernetes/paxos.yaml. A field that the types of Kubernetes do not have is an error, and so is one that is given twice.
func manifests(t *testing.T) (o objects) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "kubernetes", "paxos.yaml"))
	require.NoError(t, err)
	parts := bytes.Split(text, []byte("\n---\n"))
	into := map[string]any{"v1 ConfigMap": &o.config, "v1 Service": &o.service, "networking.k8s.io/v1 NetworkPolicy": &o.network,
		"policy/v1 PodDisruptionBudget": &o.budget, "apps/v1 StatefulSet": &o.set}
	for _, part := range parts {
		var kind struct{ APIVersion, Kind string }
		require.NoError(t, yaml.Unmarshal(part, &kind))
		name := kind.APIVersion + " " + kind.Kind
		object, ok := into[name]
		require.True(t, ok, "%s: it is unknown, or there twice", name)
		require.NoError(t, yaml.UnmarshalStrict(part, object), "%s", name)
		delete(into, name)
	}
	require.Empty(t, into, "they are missing")
	return o
}

// createJob is kubernetes/create.yaml, for the pod of that ordinal: "paxos-0" in the text is replaced, as the page says.
func createJob(t *testing.T, ordinal int) (j batch.Job) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "kubernetes", "create.yaml"))
	require.NoError(t, err)
	replaced := strings.ReplaceAll(string(text), "paxos-0", podName(ordinal))
	require.NoError(t, yaml.UnmarshalStrict([]byte(replaced), &j))
	return j
}

func podName(ordinal int) string { return fmt.Sprint("paxos-", ordinal) }

// expand replaces $(POD_NAME), as Kubernetes does.
func expand(args []string, ordinal int) (all []string) {
	for _, arg := range args {
		all = append(all, strings.ReplaceAll(arg, "$(POD_NAME)", podName(ordinal)))
	}
	return all
}

// container returns the only container of a pod. The program of the image is its entrypoint, so args are what follows it.
func container(t *testing.T, spec core.PodSpec) core.Container {
	t.Helper()
	require.Len(t, spec.Containers, 1)
	require.Empty(t, spec.InitContainers, "nothing runs before the server that could create its storage")
	require.Empty(t, spec.Containers[0].Command, "the entrypoint of the image is the program")
	require.Nil(t, spec.Containers[0].Lifecycle)
	return spec.Containers[0]
}

// mount returns how a container sees a volume.
func mount(t *testing.T, c core.Container, volume string) core.VolumeMount {
	t.Helper()
	for _, m := range c.VolumeMounts {
		if m.Name == volume {
			return m
		}
	}
	require.Fail(t, "the volume is not mounted", volume)
	return core.VolumeMount{}
}

func volume(t *testing.T, spec core.PodSpec, name string) core.Volume {
	t.Helper()
	for _, v := range spec.Volumes {
		if v.Name == name {
			return v
		}
	}
	require.Fail(t, "there is no such volume", name)
	return core.Volume{}
}

// execOf returns the command of a probe, after the program.
func execOf(t *testing.T, p *core.Probe) []string {
	t.Helper()
	require.NotNil(t, p)
	require.NotNil(t, p.Exec, "the API is on a loopback address, which the kubelet does not reach")
	require.Equal(t, image, p.Exec.Command[0])
	return p.Exec.Command[1:]
}

// pod is what the pod of that ordinal sees of the ConfigMap and of the Secret, whose files are in certs.
func (o objects) pod(t *testing.T, ordinal int, certs string, all []*place) {
	t.Helper()
	p, c := all[ordinal], container(t, o.set.Spec.Template.Spec)
	config := mount(t, c, "config")
	require.Equal(t, o.config.Name, volume(t, o.set.Spec.Template.Spec, "config").ConfigMap.Name)
	p.configure(path.Join(config.MountPath, podName(ordinal)+".json"), []byte(o.config.Data[podName(ordinal)+".json"]), all)
	keys := mount(t, c, "certs")
	require.Empty(t, keys.SubPath)
	dir := expand([]string{keys.SubPathExpr}, ordinal)[0] + "/"
	for _, item := range volume(t, o.set.Spec.Template.Spec, "certs").Secret.Items {
		if name, ok := strings.CutPrefix(item.Path, dir); ok {
			p.copyFile(filepath.Join(certs, item.Key), path.Join(keys.MountPath, name))
		}
	}
}

// TestKubernetesRuns goes through the life of three pods with their configurations, mounts and command lines. Then it replaces a lost volume
// as docs/operations.md says.
func TestKubernetesRuns(t *testing.T) {
	o := manifests(t)
	c := container(t, o.set.Spec.Template.Spec)
	lines := sectionOf(t, "Kubernetes")
	four := strings.Join(between(t, lines, "{", "}"), "\n")
	o.config.Data["paxos-3.json"] = four
	items := &volume(t, o.set.Spec.Template.Spec, "certs").Secret.Items
	for _, name := range []string{"ca.crt", "4.crt", "4.key"} {
		*items = append(*items, core.KeyToPath{Key: name, Path: "paxos-3/" + name})
	}
	volume(t, o.set.Spec.Template.Spec, "certs").Secret.Items = *items

	l := life{livez: execOf(t, c.LivenessProbe), readyz: execOf(t, c.ReadinessProbe),
		dir: path.Join(mount(t, c, "data").MountPath, "data")}
	certs := certificates(t, "1", "2", "3", "4")
	var all []*place
	for ordinal := range 4 {
		all = append(all, newPlace(t, ordinal+1, podName(ordinal)+"."+o.set.Spec.ServiceName))
		l.serve = append(l.serve, expand(c.Args, ordinal))
		l.create = append(l.create, container(t, createJob(t, ordinal).Spec.Template.Spec).Args)
	}
	for ordinal := range all {
		o.pod(t, ordinal, certs, all)
		assert.Equal(t, l.dir, read(t, []byte(o.config.Data[podName(ordinal)+".json"])).Dir, "a directory that only create makes, in the volume")
	}
	calls := execLines(t, lines)
	require.Len(t, calls, 2)
	l.places, l.call = all[:3], calls[0]
	l.runs(t)

	// Pod paxos-2 has lost its volume here. The page says it of paxos-1.
	out, status := all[3].run(l.create[3]...)
	require.Zero(t, status, "%s", out)
	all[3].start(l.serve[3])
	replace := calls[1]
	require.Equal(t, `replace 2 4 paxos-3.paxos:7000; members`, replace[1])
	out, status = all[0].run("call", strings.NewReplacer("replace 2 ", "replace 3 ", all[3].host+":7000", all[3].listen).Replace(replace[1]))
	require.Zero(t, status, "%s", out)
	assert.Contains(t, out, "server 3 has left: stop it for good")
	all[3].becomes(0, l.readyz)
}

// TestKubernetesProbes: the probe that restarts a pod asks no quorum. A pod without a quorum is not ready.
func TestKubernetesProbes(t *testing.T) {
	c := container(t, manifests(t).set.Spec.Template.Spec)
	for name, probe := range map[string]*core.Probe{"livez": c.LivenessProbe, "readyz": c.ReadinessProbe, "livez ": c.StartupProbe} {
		args := execOf(t, probe)
		assert.Equal(t, "probe", args[0])
		assert.Equal(t, strings.TrimSpace(name), args[len(args)-1])
		limit, err := time.ParseDuration(args[2])
		require.NoError(t, err)
		assert.Less(t, limit, time.Duration(probe.TimeoutSeconds)*time.Second, "it ends before it is killed")
		assert.Greater(t, limit, time.Second, "readyz answers within a second")
	}
	assert.GreaterOrEqual(t, c.StartupProbe.PeriodSeconds*c.StartupProbe.FailureThreshold, int32(600), "a start may take long")
	assert.Nil(t, c.LivenessProbe.TerminationGracePeriodSeconds)
}

// TestKubernetesKeepsAQuorum: no act of Kubernetes takes a quorum away by itself, or waits for one that needs it.
func TestKubernetesKeepsAQuorum(t *testing.T) {
	o := manifests(t)
	spec := o.set.Spec
	acceptors := read(t, []byte(o.config.Data["paxos-0.json"])).Acceptors
	require.Len(t, acceptors, int(*spec.Replicas))
	assert.Equal(t, apps.ParallelPodManagement, spec.PodManagementPolicy, "else the first pod waits for a quorum, alone")
	assert.Equal(t, apps.RollingUpdateStatefulSetStrategyType, spec.UpdateStrategy.Type)
	assert.Equal(t, len(acceptors)/2+1, o.budget.Spec.MinAvailable.IntValue(), "a quorum")
	assert.Nil(t, o.budget.Spec.MaxUnavailable)
	assert.Equal(t, policy.AlwaysAllow, *o.budget.Spec.UnhealthyPodEvictionPolicy)
	apart := spec.Template.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	require.Len(t, apart, 1)
	assert.Equal(t, core.LabelHostname, apart[0].TopologyKey)
	assert.Greater(t, *spec.Template.Spec.TerminationGracePeriodSeconds, stopGrace(t))
	for what, selector := range map[string]map[string]string{"StatefulSet": spec.Selector.MatchLabels, "Service": o.service.Spec.Selector,
		"NetworkPolicy": o.network.Spec.PodSelector.MatchLabels, "PodDisruptionBudget": o.budget.Spec.Selector.MatchLabels,
		"anti-affinity": apart[0].LabelSelector.MatchLabels, "NetworkPolicy, from": o.network.Spec.Ingress[0].From[0].PodSelector.MatchLabels} {
		assert.Equal(t, spec.Template.Labels, selector, "%s", what)
	}
	assert.NotContains(t, createJob(t, 0).Spec.Template.Labels, "app", "a Job is no server")
}

// TestKubernetesNames: each server finds the others by name, also before they are ready, and has a configuration and a key of its own.
func TestKubernetesNames(t *testing.T) {
	o := manifests(t)
	spec := o.set.Spec.Template.Spec
	c := container(t, spec)
	assert.Equal(t, o.service.Name, o.set.Spec.ServiceName)
	assert.Equal(t, core.ClusterIPNone, o.service.Spec.ClusterIP)
	assert.True(t, o.service.Spec.PublishNotReadyAddresses, "readiness takes a quorum, and a quorum takes names")
	require.Len(t, c.Ports, 1)
	require.Len(t, o.service.Spec.Ports, 1)
	assert.Equal(t, c.Ports[0].Name, o.service.Spec.Ports[0].TargetPort.String())
	assert.Equal(t, c.Ports[0].Name, o.network.Spec.Ingress[0].Ports[0].Port.String())
	assert.Equal(t, "metadata.name", c.Env[0].ValueFrom.FieldRef.FieldPath)
	assert.Equal(t, "POD_NAME", c.Env[0].Name)
	require.Len(t, o.config.Data, int(*o.set.Spec.Replicas))
	for ordinal := range int(*o.set.Spec.Replicas) {
		told := read(t, []byte(o.config.Data[podName(ordinal)+".json"]))
		assert.Equal(t, ordinal+1, told.ID)
		assert.Equal(t, fmt.Sprintf(":%d", c.Ports[0].ContainerPort), told.Listen)
		assert.Equal(t, "/"+fmt.Sprint(told.ID)+".key", strings.TrimPrefix(told.Key, mount(t, c, "certs").MountPath))
	}
	assert.Equal(t, int32(0o440), *volume(t, spec, "certs").Secret.DefaultMode, "the group of the pod reads its key, and nobody else")
	seen := map[string][]string{}
	for _, item := range volume(t, spec, "certs").Secret.Items {
		pod, _, _ := strings.Cut(item.Path, "/")
		seen[pod] = append(seen[pod], item.Key)
	}
	assert.Equal(t, map[string][]string{"paxos-0": {"ca.crt", "1.crt", "1.key"}, "paxos-1": {"ca.crt", "2.crt", "2.key"},
		"paxos-2": {"ca.crt", "3.crt", "3.key"}}, seen, "each pod sees its own key alone")
}

// TestKubernetesCreatesOnce: the StatefulSet only serves and keeps its volumes. The Job can't be applied, and works on the volume of one pod.
func TestKubernetesCreatesOnce(t *testing.T) {
	o := manifests(t)
	assert.Equal(t, "serve", container(t, o.set.Spec.Template.Spec).Args[0])
	keep := o.set.Spec.PersistentVolumeClaimRetentionPolicy
	assert.Equal(t, apps.RetainPersistentVolumeClaimRetentionPolicyType, keep.WhenDeleted)
	assert.Equal(t, apps.RetainPersistentVolumeClaimRetentionPolicyType, keep.WhenScaled)
	require.Len(t, o.set.Spec.VolumeClaimTemplates, 1)
	claim := o.set.Spec.VolumeClaimTemplates[0]
	assert.Equal(t, []core.PersistentVolumeAccessMode{core.ReadWriteOnce}, claim.Spec.AccessModes)
	for ordinal := range 4 {
		j := createJob(t, ordinal)
		assert.Empty(t, j.Name, "apply refuses an object without a name")
		assert.Equal(t, podName(ordinal)+"-create-", j.GenerateName)
		assert.Zero(t, *j.Spec.BackoffLimit)
		assert.Equal(t, core.RestartPolicyNever, j.Spec.Template.Spec.RestartPolicy)
		assert.Equal(t, claim.Name+"-"+podName(ordinal), volume(t, j.Spec.Template.Spec, "data").PersistentVolumeClaim.ClaimName)
		near := j.Spec.Template.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
		assert.Equal(t, map[string]string{apps.StatefulSetPodNameLabel: podName(ordinal)}, near.LabelSelector.MatchLabels)
		job, server := container(t, j.Spec.Template.Spec), container(t, o.set.Spec.Template.Spec)
		assert.Equal(t, server.Image, job.Image)
		for _, name := range []string{"data", "config"} {
			assert.Equal(t, mount(t, server, name), mount(t, job, name))
		}
		assert.Equal(t, o.set.Spec.Template.Spec.SecurityContext, j.Spec.Template.Spec.SecurityContext, "the owner of the files")
	}
}

// TestKubernetesHardened: a pod has no right that it does not need.
func TestKubernetesHardened(t *testing.T) {
	for _, spec := range []core.PodSpec{manifests(t).set.Spec.Template.Spec, createJob(t, 0).Spec.Template.Spec} {
		c := container(t, spec)
		assert.False(t, *spec.AutomountServiceAccountToken)
		assert.True(t, *spec.SecurityContext.RunAsNonRoot)
		assert.Equal(t, core.SeccompProfileTypeRuntimeDefault, spec.SecurityContext.SeccompProfile.Type)
		assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
		assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
		assert.Equal(t, []core.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
		assert.False(t, spec.HostNetwork)
		assert.False(t, c.Resources.Limits.Memory().IsZero())
		user := fmt.Sprintf("%d:%d", *spec.SecurityContext.RunAsUser, *spec.SecurityContext.RunAsGroup)
		for _, i := range dockerfile(t) {
			if i.name == "USER" {
				assert.Equal(t, i.rest, user)
			}
		}
	}
}

package deploytest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"sigs.k8s.io/yaml"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/adapters/otel"
	"github.com/singledecree/paxos/adapters/prometheus"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

const monitoring = "../monitoring/"

// A server that has one of everything.
type everything struct{}

func (everything) Metrics() paxos.Metrics {
	return paxos.Metrics{Running: true, Peers: []paxos.PeerStatus{{ID: 2, Taken: 1}}}
}

// network returns the metrics of a Transport that has one of everything.
func network() []paxos.Metric {
	end := time.Unix(2000000000, 0)
	return tcp.Stats{Expires: end, Peers: []tcp.Peer{{ID: 2, Expires: end}}}.Metrics()
}

// exposed returns the series that adapters/prometheus exposes, each with its labels, and those that Prometheus adds to each.
func exposed(t *testing.T) map[string][]string {
	m := prometheus.New(1)
	m.Watch(everything{})
	m.Call(t.Context(), node.Call{Op: "propose", Outcome: node.OutcomeOK})
	m.Save(node.Save{})
	m.RoundTrip(paxos.RoundTrip{Kind: paxos.KindPrepare})
	registry := prom.NewPedanticRegistry()
	require.NoError(t, registry.Register(m))
	require.NoError(t, registry.Register(prometheus.Of(1, func() []paxos.Metric { return wal.Stats{}.Metrics() })))
	require.NoError(t, registry.Register(prometheus.Of(1, network)))
	all := seriesOf(t, registry)
	require.Greater(t, len(all), 40)
	return all
}

func seriesOf(t *testing.T, registry *prom.Registry) map[string][]string {
	families, err := registry.Gather()
	require.NoError(t, err)
	all := map[string][]string{"up": {"job", "instance"}}
	for _, f := range families {
		names := []string{"job", "instance"}
		for _, l := range f.GetMetric()[0].GetLabel() {
			names = append(names, l.GetName())
		}
		if f.GetMetric()[0].GetHistogram() == nil {
			all[f.GetName()] = names
			continue
		}
		all[f.GetName()+"_bucket"] = append([]string{"le"}, names...)
		all[f.GetName()+"_sum"], all[f.GetName()+"_count"] = names, names
	}
	return all
}

// The metrics of adapters/otel have the same names and labels, after the exporter of OpenTelemetry to Prometheus. So alerts and dashboard fit both.
func TestOpenTelemetryHasTheSameNames(t *testing.T) {
	registry := prom.NewRegistry()
	exporter, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo(), promexporter.WithoutTargetInfo())
	require.NoError(t, err)
	tel, err := otel.New(1, otel.Config{Meters: sdk.NewMeterProvider(sdk.WithReader(exporter))})
	require.NoError(t, err)
	defer tel.Close()
	require.NoError(t, tel.Add(func() []paxos.Metric { return wal.Stats{}.Metrics() }))
	require.NoError(t, tel.Add(network))
	tel.Watch(everything{})
	tel.Call(t.Context(), node.Call{Op: "propose", Outcome: node.OutcomeOK})
	tel.Save(node.Save{})
	tel.RoundTrip(paxos.RoundTrip{Kind: paxos.KindPrepare})
	want, got := exposed(t), seriesOf(t, registry)
	for name := range want {
		assert.ElementsMatch(t, want[name], got[name], name)
	}
	assert.Len(t, got, len(want))
}

// operations are the calls that an Observer is told of, and outcomes are their ends.
var (
	operations = []string{"propose", "read", "wait", "peek", "ready", "forget", "change", "settled"}
	outcomes   = []node.Outcome{node.OutcomeOK, node.OutcomeTimeout, node.OutcomeCanceled, node.OutcomeBusy, node.OutcomeForgotten, node.OutcomeConflict,
		node.OutcomeRefused, node.OutcomeClosed, node.OutcomeBroken, node.OutcomeFailed}
)

// checkQuery checks that an expression parses, and that each series and label in it exists.
func checkQuery(t require.TestingT, series map[string][]string, query string) {
	expr, err := parser.ParseExpr(query)
	require.NoError(t, err, query)
	used := map[string]bool{}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		names, known := series[v.Name]
		assert.True(t, known, "%s is not exposed: %s", v.Name, query)
		for _, l := range names {
			used[l] = true
		}
		for _, m := range v.LabelMatchers {
			assert.True(t, m.Name == labels.MetricName || slices.Contains(names, m.Name), "%s has no label %s: %s", v.Name, m.Name, query)
			checkMatcher(t, m)
		}
		return nil
	})
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, l := range a.Grouping {
				assert.True(t, used[l], "no series has a label %s: %s", l, query)
			}
		}
		return nil
	})
}

// checkMatcher checks that each value that is named in a matcher of calls exists.
func checkMatcher(t require.TestingT, m *labels.Matcher) {
	for _, value := range strings.Split(m.Value, "|") {
		switch m.Name {
		case "op":
			assert.Contains(t, operations, value)
		case "outcome":
			assert.Contains(t, outcomes, node.Outcome(value))
		}
	}
}

func alerts(t *testing.T) map[string]rulefmt.Rule {
	groups, errs := rulefmt.ParseFile(monitoring+"alerts.yaml", false, model.UTF8Validation)
	require.Empty(t, errs)
	all := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			require.NotEmpty(t, r.Alert, "a rule that is no alert")
			require.NotContains(t, all, r.Alert)
			all[r.Alert] = r
		}
	}
	return all
}

// The alerts are valid, and ask for what servers expose. docs/operations.md explains each of them.
func TestAlerts(t *testing.T) {
	series := exposed(t)
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	for name, r := range alerts(t) {
		checkQuery(t, series, r.Expr)
		assert.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], name)
		for _, key := range []string{"summary", "description"} {
			assert.Regexp(t, `\.$`, r.Annotations[key], "%s: %s", name, key)
		}
		for _, used := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(fmt.Sprint(r.Annotations), -1) {
			assert.Contains(t, []string{"server", "peer", "instance"}, used[1], name)
		}
		assert.Equal(t, 1, strings.Count(string(page), "\n| `"+name+"` | "+r.Labels["severity"]+" |"), "docs/operations.md explains %s", name)
	}
}

// docs/operations.md has a row for each metric, and for no other.
func TestMetricsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(text), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `paxos_.*? \\|").FindAllString(section, -1) {
		for _, name := range regexp.MustCompile("`(paxos_[a-z_]+)`").FindAllStringSubmatch(row, -1) {
			assert.False(t, rows[name[1]], "%s has two rows", name[1])
			rows[name[1]] = true
		}
	}
	series := exposed(t)
	for name := range series {
		if histogram, ok := strings.CutSuffix(name, "_bucket"); ok {
			delete(series, histogram+"_count")
			delete(series, histogram+"_sum")
			delete(series, name)
			series[histogram] = nil
		}
	}
	delete(series, "up")
	assert.ElementsMatch(t, slices.Collect(maps.Keys(series)), slices.Collect(maps.Keys(rows)))
	for _, o := range outcomes {
		assert.Contains(t, section, "`"+string(o)+"`")
	}
}

// Each alert fires for what it is about, and not for a healthy server. "a+bxn" is a series that begins at a and grows by b, n times, every 15 s.
func TestAlertsFire(t *testing.T) {
	const server = `job="paxos",instance="one",server="1"`
	calls := func(outcome, rate string) string {
		return fmt.Sprintf("paxos_call_duration_seconds_count{%s,op=\"propose\",outcome=%q} %s\n", server, outcome, rate)
	}
	gauge := func(name, values string, more ...string) string {
		return fmt.Sprintf("%s{%s} %s\n", name, strings.Join(append([]string{server}, more...), ","), values)
	}
	saves := func(fast, all string) string {
		return gauge("paxos_save_duration_seconds_bucket", fast, `le="0.4096"`) + gauge("paxos_save_duration_seconds_bucket", all, `le="0.8192"`) +
			gauge("paxos_save_duration_seconds_bucket", all, `le="+Inf"`)
	}
	cases := map[string][2]string{ // that fires, and that does not
		"PaxosProtocolBroken":      {gauge("paxos_faults_total", "0x200 1x40"), gauge("paxos_faults_total", "0x240")},
		"PaxosNoQuorum":            {gauge("paxos_no_quorum_seconds", "0x200 0+15x40"), gauge("paxos_no_quorum_seconds", "0x239 12")},
		"PaxosCallsFail":           {calls("ok", "0+90x240") + calls("timeout", "0+10x240"), calls("ok", "0+1000x240") + calls("timeout", "0+1x240") + calls("refused", "0+900x240")},
		"PaxosServerDown":          {"up{job=\"paxos\",instance=\"one\"} 0x240\n", "up{job=\"paxos\",instance=\"one\"} 1x240\n" + gauge("paxos_running", "1x240")},
		"PaxosServerRestarts":      {gauge("paxos_boot", "1x180 2 3 4 5 6 6x60"), gauge("paxos_boot", "1x180 2x60")},
		"PaxosStorageHangs":        {gauge("paxos_storage_wait_seconds", "0+15x240"), gauge("paxos_storage_wait_seconds", "0.002x240")},
		"PaxosStorageSlow":         {saves("0+95x240", "0+100x240"), saves("0+100x240", "0+100x240")},
		"PaxosPeerSilent":          {gauge("paxos_peer_silence_seconds", "5x230 0+15x10", `peer="2"`), gauge("paxos_peer_silence_seconds", "5x240", `peer="2"`)},
		"PaxosPeerRefused":         {gauge("paxos_peer_refused", "1x240", `peer="2"`), gauge("paxos_peer_refused", "0x240", `peer="2"`)},
		"PaxosPeerBehind":          {gauge("paxos_peer_decisions_behind", "0+100x240", `peer="2"`), gauge("paxos_peer_decisions_behind", "900000-100x240", `peer="2"`)},
		"PaxosInstancesUnfinished": {gauge("paxos_instances_open", "20000x240") + gauge("paxos_instances_orphaned", "5x240"), gauge("paxos_instances_open", "20000x240") + gauge("paxos_instances_orphaned", "19000x240")},
		"PaxosInstancesUnwatched":  {gauge("paxos_instances_unwatched_total", "0x200 9x40"), gauge("paxos_instances_unwatched_total", "9x240")},
		"PaxosBusy":                {calls("busy", "0+1x240"), calls("busy", "7x240") + calls("ok", "0+9x240")},
		"PaxosDuels":               {gauge("paxos_attempts_total", "0+900x240") + gauge("paxos_attempts_superseded_total", "0+600x240"), gauge("paxos_attempts_total", "0+900x240") + gauge("paxos_attempts_superseded_total", "0+100x240")},
		"PaxosChangeHangs":         {gauge("paxos_configuration_settled", "0x240"), gauge("paxos_configuration_settled", "1x240")},
		"PaxosCertificateExpires":  {gauge("paxos_certificate_expiry_timestamp_seconds", "561600x240"), gauge("paxos_certificate_expiry_timestamp_seconds", "694800x240")},
		"PaxosStrangers":           {gauge("paxos_packets_of_strangers_total", "0+1x240"), gauge("paxos_packets_of_strangers_total", "3x240")},
	}
	rules := alerts(t)
	assert.ElementsMatch(t, slices.Collect(maps.Keys(rules)), slices.Collect(maps.Keys(cases)), "each alert has a case")
	engine := promqltest.NewTestEngine(t, false, 0, 1000)
	for name, c := range cases {
		for i, load := range c {
			storage := promqltest.LoadedStorage(t, "load 15s\n"+load)
			query, err := engine.NewInstantQuery(context.Background(), storage, nil, rules[name].Expr, time.Unix(0, 0).Add(time.Hour))
			require.NoError(t, err)
			result := query.Exec(context.Background())
			require.NoError(t, result.Err, name)
			fires := len(result.Value.(promql.Vector)) > 0
			assert.Equal(t, i == 0, fires, "%s: %s%s", name, load, result)
			query.Close()
			storage.Close()
		}
	}
}

// The configuration of Prometheus loads the alerts, and has the job that they and the dashboard name.
func TestPrometheusConfiguration(t *testing.T) {
	text, err := os.ReadFile(monitoring + "prometheus.yaml")
	require.NoError(t, err)
	var config struct {
		Global struct {
			ScrapeInterval model.Duration `json:"scrape_interval"`
		} `json:"global"`
		RuleFiles     []string `json:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string                       `json:"job_name"`
			StaticConfigs []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	require.NoError(t, yaml.UnmarshalStrict(text, &config))
	assert.LessOrEqual(t, time.Duration(config.Global.ScrapeInterval), time.Minute, "the alerts look at rates over 5 minutes")
	assert.Equal(t, []string{"alerts.yaml"}, config.RuleFiles)
	require.Len(t, config.ScrapeConfigs, 1)
	assert.Contains(t, alerts(t)["PaxosServerDown"].Expr, fmt.Sprintf("up{job=%q}", config.ScrapeConfigs[0].JobName))
	assert.Len(t, config.ScrapeConfigs[0].StaticConfigs[0].Targets, 3)
}

// The queries of the dashboard are valid, and ask for what servers expose.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(monitoring + "dashboard.json")
	require.NoError(t, err)
	var board struct {
		Title  string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      json.RawMessage
				Definition string
			}
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(text, &board))
	series := exposed(t)
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", "paxos", "$server", ".*")
	ids, cells, queries := map[int]bool{}, map[[2]int]string{}, 0
	check := func(query string) {
		queries++
		query = variables.Replace(query)
		assert.NotContains(t, query, "$", "a variable that the dashboard lacks")
		checkQuery(t, series, query)
	}
	for _, p := range board.Panels {
		assert.False(t, ids[p.ID], p.ID)
		ids[p.ID] = true
		assert.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				assert.Empty(t, cells[[2]int{x, y}], "%s is below it", p.Title)
				cells[[2]int{x, y}] = p.Title
				assert.Less(t, x, 24)
			}
		}
		for _, target := range p.Targets {
			check(target.Expr)
		}
	}
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		var asked struct{ Query string }
		require.NoError(t, json.Unmarshal(v.Query, &asked))
		assert.Equal(t, v.Definition, asked.Query)
		inner, ok := strings.CutPrefix(asked.Query, "label_values(")
		require.True(t, ok, asked.Query)
		check(inner[:strings.LastIndex(inner, ",")])
	}
	for _, a := range board.Annotations.List {
		check(a.Expr)
	}
	assert.Greater(t, queries, 25)
}

// A judge is a test that may fail.
type judge struct{ failed bool }

func (j *judge) Errorf(string, ...any) { j.failed = true }
func (j *judge) FailNow()              { runtime.Goexit() }

// checkQuery itself refuses what is wrong.
func TestCheckQuery(t *testing.T) {
	series := exposed(t)
	for query, fails := range map[string]bool{
		"paxos_index": false, "paxos_indices": true, `paxos_index{peer="2"}`: true, `paxos_peer_refused{peer="2"}`: false, "sum by (peer) (paxos_index)": true,
		`paxos_call_duration_seconds_count{op="propos"}`: true, `paxos_call_duration_seconds_count{outcome=~"ok|busy"}`: false, "paxos_call_duration_seconds": true,
		"sum(": true,
	} {
		fake := &judge{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			checkQuery(fake, series, query)
		}()
		<-done
		assert.Equal(t, fails, fake.failed, query)
	}
}

package paxos

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logMethods are how a line gets into a log: a Logger's own methods, and those of the reporters.
var logMethods = []string{"Debug", "Info", "Warn", "Error", "Log", "log", "debug", "info", "warn", "refused", "Lost"}

// logMessages returns what f logs, with its line.
func (f sourceFile) logMessages() (messages []string) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(logMethods, method.Sel.Name) {
			return true
		}
		for _, arg := range call.Args {
			if text, ok := arg.(*ast.BasicLit); ok && text.Kind == token.STRING {
				message, _ := strconv.Unquote(text.Value)
				messages = append(messages, message)
				break
			}
		}
		return true
	})
	return messages
}

// TestLogLinesAreExplained: docs/operations.md has a row for every message that is logged, and for no other.
func TestLogLinesAreExplained(t *testing.T) {
	page := readDoc(t, "operations.md")
	logged := map[string]bool{}
	for _, f := range repositorySource(t) {
		if !f.isTest() && (f.isCore() || slices.Contains([]string{"examples/cluster", "internal/lines"}, path.Dir(f.path))) {
			for _, message := range f.logMessages() {
				logged[message] = true
				assert.Contains(t, page, "\n| `"+message+"` |", "%s logs it", f.path)
			}
		}
	}
	require.Greater(t, len(logged), 15, "they are found")
	_, tables, _ := strings.Cut(page, "\n## What each log line means\n")
	for _, row := range regexp.MustCompile("(?m)^\\| `(.*?)` \\|").FindAllStringSubmatch(tables, -1) {
		assert.True(t, logged[row[1]], "nobody logs %q", row[1])
	}
}

// TestLogMessages: logMessages finds the messages of every call that logs.
func TestLogMessages(t *testing.T) {
	f, err := parseSource("node.go", []byte("package p\nfunc f() {\n"+
		"n.report.log(slog.LevelInfo, \"one\", \"key\", 1)\nl.options.Logger.Warn(\"two\")\nt.report.refused(about{1, \"x\"}, `three`, \"y\")\n"+
		"fmt.Println(\"four\")\nerrors.New(\"five\")\nlogger.Log(ctx, level, message)\n}\n"))
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two", "three"}, f.logMessages())
}

// TestMetricsListings: each line of code in the section Metrics of docs/operations.md stands in an Example that is compiled and run.
func TestMetricsListings(t *testing.T) {
	_, section, _ := strings.Cut(readDoc(t, "operations.md"), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var examples string
	for _, name := range []string{"node/example_test.go", "adapters/prometheus/example_test.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		examples += string(text)
	}
	lines := 0
	for line := range strings.Lines(section) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			assert.Contains(t, examples, "\t"+code)
			lines++
		}
	}
	assert.Equal(t, 7, lines)
}

// TestAssumptionsAreNumbered: docs/assumptions.md counts from 1, each says what happens when it is false, and those that others are
// reduced to exist.
func TestAssumptionsAreNumbered(t *testing.T) {
	page := readDoc(t, "assumptions.md")
	parts := regexp.MustCompile(`(?m)^\d+\. `).Split(page, -1)[1:]
	require.NotEmpty(t, parts)
	for i, part := range parts {
		assert.Contains(t, page, fmt.Sprintf("\n%d. **", i+1))
		assert.Regexp(t, `When\s+it\s+is\s+false`, part, "assumption %d", i+1)
		for _, other := range regexp.MustCompile(`case\s+(\d+)`).FindAllStringSubmatch(part, -1) {
			n, _ := strconv.Atoi(other[1])
			assert.LessOrEqual(t, n, len(parts), "assumption %d", i+1)
		}
	}
}

// TestDocsLeadToDocs: the targets of all links in the documents exist, and the README leads to all documents.
func TestDocsLeadToDocs(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("docs", "*.md"))
	require.NoError(t, err)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, page := range append(pages, "README.md", "README.ko.md", "CONTRIBUTING.md", "SECURITY.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), link[1]))
			assert.NoError(t, err, "%s", page)
		}
	}
	require.Greater(t, len(pages), 10)
	for _, page := range pages {
		assert.Contains(t, string(readme), "("+filepath.ToSlash(page)+")")
	}
}

// TestGlossaryNamesExist: each name in the last column of docs/glossary.md is exported by its package, and each row has one.
func TestGlossaryNamesExist(t *testing.T) {
	exported := map[string]bool{}
	for _, f := range repositorySource(t) {
		if !f.isTest() {
			f.exported(exported)
		}
	}
	rows := regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$`).FindAllStringSubmatch(readDoc(t, "glossary.md"), -1)
	require.Greater(t, len(rows), 50)
	for _, row := range rows {
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1)
		assert.True(t, len(names) > 0 || row[1] == "word", "%s", row[1])
		for _, name := range names {
			assert.True(t, exported[name[1]], "%s: %s", row[1], name[1])
		}
	}
}

// exported adds what f exports: names, and methods and fields of types, after the name of the package.
func (f sourceFile) exported(all map[string]bool) {
	add := func(names ...string) { all[f.ast.Name.Name+"."+strings.Join(names, ".")] = true }
	for _, decl := range f.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add(decl.Name.Name)
			} else if of, ok := baseOf(decl.Recv.List[0].Type).(*ast.Ident); ok {
				add(of.Name, decl.Name.Name)
			}
		case *ast.GenDecl:
			ast.Inspect(decl, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					for _, name := range n.Names {
						add(name.Name)
					}
				case *ast.TypeSpec:
					add(n.Name.Name)
					ast.Inspect(n.Type, func(member ast.Node) bool {
						if field, ok := member.(*ast.Field); ok {
							for _, name := range field.Names {
								add(n.Name.Name, name.Name)
							}
						}
						return true
					})
					return false
				}
				return true
			})
		}
	}
}

// baseOf returns the type of which a method is, without pointer and parameters.
func baseOf(t ast.Expr) ast.Expr {
	switch t := t.(type) {
	case *ast.StarExpr:
		return baseOf(t.X)
	case *ast.IndexExpr:
		return baseOf(t.X)
	}
	return t
}

// tablesOf returns the tables of a page: the cells of a row by the names of their columns. A row's name is its heading, then the
// callers and the server, if there are such columns, and the contestant.
func tablesOf(page string) map[string]map[string]string {
	rows := map[string]map[string]string{}
	heading, columns := "", []string(nil)
	for line := range strings.Lines(page) {
		if text, ok := strings.CutPrefix(line, "#"); ok {
			heading = strings.Trim(text, "# \n")
		}
		if !strings.HasPrefix(line, "|") {
			columns = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|\n"), "|")
		row, name := map[string]string{}, heading
		for i, c := range cells {
			cells[i] = strings.TrimSpace(c)
			if len(columns) == len(cells) {
				row[columns[i]] = cells[i]
			}
		}
		for _, column := range []string{"callers", "the server", "contestant"} {
			if row[column] != "" {
				name += "/" + row[column]
			}
		}
		if rows[name] = row; columns == nil {
			columns = cells
		}
	}
	return rows
}

// TestChooseCitesMeasuredFigures: each figure in the tables of docs/choose.md is the one that docs/performance.md has for it, and the text
// has no figure that is not there.
func TestChooseCitesMeasuredFigures(t *testing.T) {
	choose, measured := readDoc(t, "choose.md"), readDoc(t, "performance.md")
	rows := tablesOf(measured)
	const disk, large, stops, rate = "Disk and TCP, 3 servers, 64 B/", "Disk and TCP, 3 servers, 1 MiB/", "A server stops/is killed/", "decisions/s"
	for _, want := range []struct{ label, column, names string }{
		{"decisions/s on disk, 1 caller", rate, disk + "1/paxos;" + disk + "1/hashicorp/raft;" + disk + "1/dragonboat, pebble"},
		{"the same, for names that the server owns", rate, disk + "1/paxos, minted;" + disk + "1/hashicorp/raft;" + disk + "1/dragonboat, pebble"},
		{"decisions/s on disk, 16 callers", rate, disk + "16/paxos;" + disk + "16/hashicorp/raft;" + disk + "16/dragonboat, pebble"},
		{"decisions/s on disk, 256 callers at one server", rate, disk + "256/paxos;" + disk + "256/hashicorp/raft;" + disk + "256/dragonboat, pebble"},
		{"decisions/s on disk, 256 callers at all servers", rate, disk + "256/paxos, spread;" + disk + "256/hashicorp/raft;" + disk + "256/dragonboat, pebble"},
		{"decisions/s on disk, 1 MiB, 16 callers", rate, large + "16/paxos;" + large + "16/hashicorp/raft, tuned;" + large + "16/dragonboat, pebble"},
		{"longest pause after a server stops", "after", stops + "paxos, spread;" + stops + "hashicorp/raft;" + stops + "dragonboat, 2 s elections"},
		{"the same with elections of 100 ms", "after", stops + "paxos, spread;" + stops + "hashicorp/raft, 100 ms elections;" + stops + "dragonboat, 100 ms elections"},
		{"decisions/s, 1 caller", rate, disk + "1/paxos;" + disk + "1/etcd"},
		{"decisions/s, 16 callers", rate, disk + "16/paxos;" + disk + "16/etcd"},
		{"decisions/s, 256 callers", rate, disk + "256/paxos;" + disk + "256/etcd"},
		{"p50 with 16 callers", "p50", disk + "16/paxos;" + disk + "16/etcd"},
		{"longest pause after a server stops", "after", stops + "paxos, spread;" + stops + "etcd"},
		{"the same with elections of 100 ms", "after", stops + "paxos, spread;" + stops + "etcd, 100 ms elections"},
	} {
		line := `(?m)^\| ` + regexp.QuoteMeta(want.label)
		for name := range strings.SplitSeq(want.names, ";") {
			require.NotEmpty(t, rows[name][want.column], name)
			line += ` \| ` + regexp.QuoteMeta(rows[name][want.column]) + `(?:, [^|]*)?`
		}
		assert.Regexp(t, line+` \|$`, choose)
	}
	assert.Len(t, regexp.MustCompile(`(?m)^\| [^|]* \| \d`).FindAllString(choose, -1), 14, "each row with figures is in the list above")
	for _, figure := range regexp.MustCompile(`\b\d+(?:[,.]\d+)* (?:s|ms|us|B)\b|\b\d{1,3}(?:,\d{3})+\b`).FindAllString(choose, -1) {
		assert.Regexp(t, `[^\d.,]`+regexp.QuoteMeta(figure)+`[^\d,]`, measured)
	}
}

// The documentation of what is exported points at what its reader can see: pages, and names that are exported, too.
func TestExportedDocsPointAtWhatIsSeen(t *testing.T) {
	sources := regexp.MustCompile(`\b[a-z_]+\.go\b`)
	see := regexp.MustCompile(`\b[sS]ee ([a-z][A-Za-z0-9]*)\b[^.\w]|\b[sS]ee ([a-z][A-Za-z0-9]*)(?:\.\s|\.?$)`)
	for _, dir := range []string{".", "replica", "node", "memory", "wal", "tcp", filepath.Join("tcp", "certs"), "paxostest"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		set := token.NewFileSet()
		var parsed []*ast.File
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				f, err := parser.ParseFile(set, file, nil, parser.ParseComments)
				require.NoError(t, err)
				parsed = append(parsed, f)
			}
		}
		require.NotEmpty(t, parsed)
		hidden, shown := map[string]bool{}, []*ast.CommentGroup{}
		for _, f := range parsed {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					hidden[n.Name.Name] = true
				case *ast.TypeSpec:
					hidden[n.Name.Name] = true
				}
				return true
			})
			if ast.FileExports(f); f.Doc != nil {
				shown = append(shown, f.Doc)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					shown = append(shown, n.Doc)
				case *ast.GenDecl:
					shown = append(shown, n.Doc)
				case *ast.TypeSpec:
					shown = append(shown, n.Doc, n.Comment)
				case *ast.ValueSpec:
					shown = append(shown, n.Doc, n.Comment)
				case *ast.Field:
					shown = append(shown, n.Doc, n.Comment)
				}
				return true
			})
		}
		for _, doc := range shown {
			if doc == nil {
				continue
			}
			assert.Empty(t, sources.FindString(doc.Text()), "%s: a file", set.Position(doc.Pos()))
			for _, name := range see.FindAllStringSubmatch(doc.Text(), -1) {
				assert.False(t, hidden[name[1]+name[2]], "%s: %s", set.Position(doc.Pos()), name[0])
			}
		}
	}
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("docs", name))
	require.NoError(t, err)
	return string(text)
}

// TestReadmeCodeCompiles holds that every Go block of the README stands to the letter in an example_test.go of the root or of node. There
// it is compiled, and its output is checked. One block is a whole program: internal/tutorial builds and runs it.
func TestReadmeCodeCompiles(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var examples strings.Builder
	for _, name := range []string{"example_test.go", "node/example_test.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		examples.Write(text)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks, "the README shows a program")
	programs := 0
	for _, block := range blocks {
		if strings.HasPrefix(block[1], "package main\n") {
			programs++
			continue
		}
		assert.Contains(t, unindent(examples.String()), unindent(block[1]))
	}
	assert.Equal(t, 1, programs)
}

// TestReadmeCommands holds what .ci/run relies on: the first indented commands of the README see it work, and test it.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^    (\S.*)$`).FindAllStringSubmatch(string(readme), 2)
	require.Len(t, commands, 2)
	assert.Equal(t, "go run ./examples/once burger pizza kimbap", commands[0][1])
	assert.Equal(t, "go test ./...", commands[1][1])
}

// TestWhatUsersMeetFirstHasExamples: each of these has an Example in the tests of its package, with an output that is checked.
func TestWhatUsersMeetFirstHasExamples(t *testing.T) {
	shown := map[string]bool{}
	for _, f := range repositorySource(t) {
		for _, e := range doc.Examples(f.ast) {
			if f.isTest() && (e.Output != "" || e.EmptyOutput) {
				shown[strings.TrimSpace(path.Dir(f.path)+" "+e.Name)] = true
			}
		}
	}
	for dir, names := range map[string]string{
		".": " Format Majority Flexible Weighted Grid CheckQuorum Prefix Owned OwnerOf Unknown OpError TypedOf Proposer",
		"node": "Start Node_Propose Node_Read Node_Wait Node_Peek Node_Decisions Node_Forget Node_Mint Node_Ready Node_Status Node_Change" +
			" Node_Events Node_Metrics Node_Done",
		"memory": "Cluster NewStorage NewNetwork", "wal": "Create Open Log_Verify", "tcp": "Listen Identity CheckIdentity Transport_Reach",
		"tcp/certs": "Authority Authority_TLS Open Files_Watch", "paxoshttp": "NewHandler NewClient Client Unhealthy Loopback OpenAPI",
		"paxosweb": " TraceOf Fetch", "paxostest": "NewNetwork NewCrashStorage Sim Chaos", "replica": "",
		"recipe/once": "", "recipe/term": "", "recipe/idempotency": "", "recipe/sequence": "", "recipe/commit": "",
	} {
		for _, name := range strings.Split(names, " ") { // the empty name is the Example of the package
			assert.True(t, shown[strings.TrimSpace(dir+" "+name)], "%s: Example %s", dir, name)
		}
	}
}

// TestReadmeInKorean: README.ko.md has the listings, commands, links, figures and tables of README.md. Only the words are others.
func TestReadmeInKorean(t *testing.T) {
	english, err := os.ReadFile("README.md")
	require.NoError(t, err)
	korean, err := os.ReadFile("README.ko.md")
	require.NoError(t, err)
	for _, part := range []struct{ what, found string }{
		{"blocks", "(?s)```.*?```"},
		{"commands", `(?m)^    \S.*$`},
		{"commands in a line", "`go [^`]*`"},
		{"links to documents", `\]\(([^)]*/[^)]*|[A-Z]{8,}\.md)\)`},
		{"first cells of tables", "(?m)^\\| [`0-9].*? \\|"},
		{"figures", `\b\d+ (?:us|ms)\b|\b\d+(?:[.,]\d+)+\b`},
		{"depth of headings", `(?m)^#+ `},
	} {
		find := regexp.MustCompile(part.found)
		want := find.FindAllString(string(english), -1)
		require.NotEmpty(t, want, part.what)
		got := find.FindAllString(string(korean), -1)
		if part.what == "commands in a line" { // another grammar, another order
			slices.Sort(want)
			slices.Sort(got)
		}
		assert.Equal(t, want, got, part.what)
	}
}

// unindent drops the white space before each line.
func unindent(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

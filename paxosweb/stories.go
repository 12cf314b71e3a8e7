package paxosweb

import (
	"fmt"
	"html/template"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/singledecree/paxos/internal/spacetime"
)

// A Story is a run that is over, such as one of a simulation, as a diagram to step through.
type Story struct {
	Name    string // in addresses; no two stories have the same
	Title   string
	About   []string // paragraphs above the diagram
	Outcome []string // lines below it
	// SVG is the diagram, and Steps has its rows in words, each after its time and a tab. They come from [paxostest.Sim.PaintWithout]. The page takes the SVG as it is,
	// so it must escape every text in it, as those do.
	//
	// [paxostest.Sim.PaintWithout]: https://pkg.go.dev/github.com/singledecree/paxos/paxostest#Sim.PaintWithout
	SVG   string
	Steps []string
}

// stories is the handler of a list of stories.
type stories struct {
	title string
	all   []Story
	allow func(r *http.Request) error
}

// NewStories returns a handler of a page that lists the stories, with a page for each. It is mounted as a [Handler] is. A nil allow
// means [Loopback]: see [Config].Allow. The handler keeps the slice. The error names two stories with one name, or one without.
func NewStories(title string, all []Story, allow func(r *http.Request) error) (http.Handler, error) {
	if allow == nil {
		allow = Loopback
	}
	for i, s := range all {
		first := slices.IndexFunc(all, func(o Story) bool { return o.Name == s.Name })
		if s.Name == "" || first != i {
			return nil, fmt.Errorf("story %d: its name %q is empty, or that of story %d too", i, s.Name, first)
		}
	}
	return &stories{title, all, allow}, nil
}

func (s *stories) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !guard(w, r, s.allow) {
		return
	}
	switch _, last := path.Split(r.URL.Path); last {
	case "":
		render(w, "stories.html", struct {
			Title   string
			Stories []Story
		}{s.title, s.all})
	case "story":
		s.one(w, r)
	default:
		asset(w, r, last)
	}
}

// A storyView is the page of one story.
type storyView struct {
	Story
	Of            string
	Before, After string // names of the stories beside it
	SVG           template.HTML
	Steps         []spacetime.Step
}

func (s *stories) one(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("name")
	i := slices.IndexFunc(s.all, func(o Story) bool { return o.Name == name })
	if i < 0 {
		http.NotFound(w, r)
		return
	}
	v := storyView{Story: s.all[i], Of: s.title, SVG: template.HTML(s.all[i].SVG)}
	for _, text := range s.all[i].Steps {
		step := spacetime.Step{Text: text}
		if at, text, ok := strings.Cut(text, "\t"); ok {
			step.Time, step.Text = at, text
		}
		v.Steps = append(v.Steps, step)
	}
	if i > 0 {
		v.Before = s.all[i-1].Name
	}
	if i+1 < len(s.all) {
		v.After = s.all[i+1].Name
	}
	render(w, "story.html", v)
}

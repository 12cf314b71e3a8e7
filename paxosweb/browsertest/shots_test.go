package browsertest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

var shots = flag.String("shots", "", "leave pictures of the pages in this directory")

// TestShots leaves pictures of both pages, wide and narrow, light and dark, for people to look at.
func TestShots(t *testing.T) {
	if *shots == "" {
		t.Skip("it needs -args -shots DIR")
	}
	s := newSite(t)
	for i := range 20 {
		s.propose(fmt.Sprintf("job/%05d/owner", i), paxos.Value(fmt.Sprintf(`{"worker":"w%d","nonce":"8f3a%04d"}`, i%7, i)))
	}
	for i, v := range []paxos.Value{"burger", "pizza", "kimbap"} {
		go s.nodes[i].Propose(context.Background(), "lunch", v)
	}
	s.propose("lunch", "burger")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go s.nodes[0].Wait(ctx, "dinner")
	go s.nodes[1].Wait(ctx, "dinner")
	time.Sleep(100 * time.Millisecond)
	for _, width := range []int64{1280, 400} {
		for _, scheme := range []string{"light", "dark"} {
			for name, address := range map[string]string{"page": "", "instance": "instance?name=lunch"} {
				s.do(emulation.SetDeviceMetricsOverride(width, 900, 1, width < 600), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
				s.open(address)
				var picture []byte
				s.do(chromedp.FullScreenshot(&picture, 100))
				file := filepath.Join(*shots, fmt.Sprintf("%s-%s-%d.png", name, scheme, width))
				require.NoError(t, os.WriteFile(file, picture, 0o666))
			}
		}
	}
}

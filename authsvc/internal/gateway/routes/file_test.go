package routes_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
	"github.com/authbus/authbus/authsvc/internal/logtest"
)

// named is a file whose only rule has the name.
func named(name string) string {
	return "upstreams: {s: {urls: [\"http://h:1\"]}}\nrules: [{name: " + name + ", path: /, methods: [GET], upstream: s}]\n"
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string, adopt func(*routes.Table) error) (*routes.File, *logtest.Buffer) {
	t.Helper()
	log := &logtest.Buffer{}
	f, err := routes.Open(path, slog.New(slog.NewTextHandler(log, nil)), adopt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, log
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("never: " + what)
		}
	}
}

// awaitRule waits until the table's only rule has the name.
func awaitRule(t *testing.T, f *routes.File, name string) {
	t.Helper()
	eventually(t, name+" in force", func() bool { return f.Current().Rules()[0].Name == name })
}

func TestAFileMustBeGoodAtFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.yaml")
	if _, err := routes.Open(path, nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	put(t, path, "nonsense: 1\n")
	before := runtime.NumGoroutine()
	if _, err := routes.Open(path, nil, nil); err == nil || !strings.Contains(err.Error(), path+":1: nonsense: is not a field of the format") {
		t.Errorf("a bad file: %v", err)
	}
	put(t, path, named("n"))
	if _, err := routes.Open(path, nil, func(*routes.Table) error { return errors.New("not with me") }); err == nil || err.Error() != path+": not with me" {
		t.Errorf("a table that nobody wants: %v", err)
	}
	eventually(t, "no goroutines are left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestChangesOfTheFile(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path, text string){
		"renamed": put,
		"written in place": func(t *testing.T, path, text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"removed and made again": func(t *testing.T, path, text string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			put(t, path, text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "routes.yaml")
			put(t, path, named("first"))
			f, _ := open(t, path, nil)
			for i := range 3 {
				next := fmt.Sprint("next-", i)
				change(t, path, named(next))
				awaitRule(t, f, next)
			}
			if err := f.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKubernetesSwapsALink: the file is a link to ..data/routes.yaml, and ..data a
// link to a folder that is replaced.
func TestKubernetesSwapsALink(t *testing.T) {
	dir := t.TempDir()
	swap := func(version string) {
		folder := filepath.Join(dir, "..version_"+version)
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(folder, "routes.yaml"), named(version))
		if err := os.Symlink(filepath.Base(folder), filepath.Join(dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("one")
	path := filepath.Join(dir, "routes.yaml")
	if err := os.Symlink("..data/routes.yaml", path); err != nil {
		t.Fatal(err)
	}
	f, _ := open(t, path, nil)
	awaitRule(t, f, "one")
	swap("two")
	awaitRule(t, f, "two")
}

func TestABadFileIsRefusedAndTheOldTableStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.yaml")
	put(t, path, named("first"))
	unwanted := "unwanted"
	f, log := open(t, path, func(table *routes.Table) error {
		if table.Rules()[0].Name == unwanted {
			return errors.New("not with me")
		}
		return nil
	})
	put(t, path, named("first")+"typo: 1\nanother: 1\n")
	eventually(t, "refused", func() bool { return f.Stats().Refused == 1 })
	if err := f.Err(); err == nil || !strings.Contains(err.Error(), ":3: typo") || !strings.Contains(err.Error(), ":4: another") {
		t.Errorf("err = %v", err)
	}
	eventually(t, "logged", func() bool {
		return strings.Contains(log.String(), "the new routes are refused") && strings.Contains(log.String(), ":4: another")
	})
	put(t, path, named(unwanted))
	eventually(t, "refused again", func() bool { return f.Stats().Refused == 2 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "missed", func() bool { return f.Stats().Refused == 3 && errors.Is(f.Err(), os.ErrNotExist) })
	if f.Current().Rules()[0].Name != "first" || f.Stats().Adopted != 1 {
		t.Errorf("in force: %+v", f.Current().Rules()[0])
	}
	put(t, path, named("second"))
	awaitRule(t, f, "second")
	if f.Err() != nil {
		t.Errorf("err = %v", f.Err())
	}
}

// TestAFileThatIsBeingWrittenIsNotRead: half of a list of rules is a list of rules.
func TestAFileThatIsBeingWrittenIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.yaml")
	put(t, path, named("first"))
	const looks = 10 * time.Second
	const settles = 50 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		f, err := routes.OpenPolling(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // never fails
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		const more = "  - {name: more, path: /more, methods: [GET], upstream: s}\n"
		full := strings.Replace(strings.Replace(named("second"), "[{", "\n  - {", 1), "}]", "}", 1)
		write(full) // and no more yet
		pass(looks + settles/2)
		write(full + more[:9])
		pass(settles)
		write(full + more)
		pass(settles)
		if s := f.Stats(); s.Adopted != 1 || s.Refused != 0 {
			t.Errorf("while the file is written: %+v", s)
		}
		pass(settles)
		if rules := f.Current().Rules(); len(rules) != 2 || f.Stats().Adopted != 2 || f.Stats().Refused != 0 {
			t.Errorf("afterwards: %+v, %d rules", f.Stats(), len(rules))
		}
		// Neither is one that is away for a moment.
		pass(looks - settles)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(settles)
		write(full + more)
		pass(looks)
		if s := f.Stats(); s.Adopted != 2 || s.Refused != 0 || s.Err != nil {
			t.Errorf("after a moment without a file: %+v", s)
		}
	})
}

// TestMistakesThatOnlyTheUserKnows have their lines, too.
func TestMistakesThatOnlyTheUserKnows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.yaml")
	put(t, path, "upstreams:\n  s:\n    urls: [\"https://h:1\"]\n    spiffe: spiffe://d/s\nrules:\n- name: n\n  path: /\n  methods: [GET]\n  upstream: s\n")
	_, err := routes.Open(path, nil, func(table *routes.Table) error {
		return errors.Join(table.Upstreams()[0].Mistake("spiffe", "is not here"), table.Rules()[0].Mistake("path", "is taken"))
	})
	want := path + ":4: upstreams[s].spiffe: is not here\n" + path + ":7: rules[0].path: is taken"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "routes.yaml")
	put(t, path, named("first"))
	f, _ := open(t, path, nil)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(f)
	expect := func(want string) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, family := range families {
			for _, m := range family.GetMetric() {
				got = append(got, fmt.Sprint(m.GetCounter().GetValue()+m.GetGauge().GetValue()))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("adopted, refused, current: %v, want %s", got, want)
		}
	}
	expect("1 0 1")
	put(t, path, "nonsense")
	eventually(t, "refused", func() bool { return f.Stats().Refused == 1 })
	expect("1 1 0")
	put(t, path, named("first"))
	eventually(t, "adopted", func() bool { return f.Stats().Adopted == 2 })
	expect("2 1 1")
}

// TestAFileIsReadNowAndThenAnyway: what notifications do not tell, such as a
// change behind a link to another folder.
func TestAFileIsReadNowAndThenAnyway(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "real.yaml")
	put(t, elsewhere, named("first"))
	path := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		f, err := routes.OpenPolling(path)
		if err != nil {
			t.Fatal(err)
		}
		put(t, elsewhere, named("second"))
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if name := f.Current().Rules()[0].Name; name != "first" {
			t.Errorf("%s in force too early", name)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if name := f.Current().Rules()[0].Name; name != "second" {
			t.Errorf("%s in force", name)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}

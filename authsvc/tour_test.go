package main_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestTheTourLeavesNothing behind, however it ends before its time.
func TestTheTourLeavesNothing(t *testing.T) {
	binary := build(t)
	for _, end := range []struct {
		name string
		by   func(t *testing.T, tour *exec.Cmd, out io.Closer)
	}{
		{"by Ctrl-C", func(t *testing.T, tour *exec.Cmd, _ io.Closer) {
			if err := tour.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}},
		{"by a reader that goes away", func(t *testing.T, _ *exec.Cmd, out io.Closer) {
			if err := out.Close(); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			temp := t.TempDir()
			tour := exec.CommandContext(t.Context(), binary, "tour")
			tour.Dir, tour.Env = temp, append(os.Environ(), "TMPDIR="+temp)
			out, err := tour.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := tour.Start(); err != nil {
				t.Fatal(err)
			}
			if first, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(first, "ok    start") {
				t.Fatalf("the first line is %q, %v", first, err)
			}
			began := time.Now()
			end.by(t, tour, out)
			if err := tour.Wait(); tour.ProcessState.ExitCode() != 1 {
				t.Errorf("it ended with %v after %v", err, time.Since(began))
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
				t.Errorf("it leaves %v, %v", left, err)
			}
		})
	}
}

package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/authbus/authbus/authsvc/authsvctest"
)

func (w *world) ready(t *testing.T) reply {
	t.Helper()
	return do(t, http.MethodGet, w.AdminURL()+"/readyz", "")
}

// TestReadyWithAVault: whoever asks whether the gateway is ready has a lost one made again.
func TestReadyWithAVault(t *testing.T) {
	w := start(t, authsvctest.Config{})
	if r := w.ready(t); r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	w.loseVault(t)
	r := await(t, http.StatusServiceUnavailable, http.StatusOK, func() reply { return w.ready(t) })
	if !strings.Contains(r.body, "vault") {
		t.Errorf("it says %q", r.body)
	}
	await(t, http.StatusOK, http.StatusServiceUnavailable, func() reply { return w.ready(t) })
	w.login(t)
}

// TestProbesShareALook: they may be many, and the vault has better things to do.
func TestProbesShareALook(t *testing.T) {
	w := start(t, authsvctest.Config{})
	nc := w.auth.Connect(t)
	asked, err := nc.SubscribeSync("$JS.API.STREAM.MSG.GET.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	const probes = 200
	for range probes {
		if r := w.ready(t); r.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if looks, _, err := asked.Pending(); err != nil || looks == 0 || looks > probes/2 {
		t.Errorf("%d probes look %d times, %v", probes, looks, err)
	}
}

// TestNotReadyWithoutABucket that cannot be made again.
func TestNotReadyWithoutABucket(t *testing.T) {
	w := start(t, authsvctest.Config{})
	js, err := jetstream.New(w.auth.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	w.loseVault(t)
	// What another stream has, none can have.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"$KV.>"}}); err != nil {
		t.Fatal(err)
	}
	await(t, http.StatusServiceUnavailable, http.StatusOK, func() reply { return w.ready(t) })
	for range 20 {
		if r := w.ready(t); r.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s %s", r.Status, r.body)
		}
	}
	if err := js.DeleteStream(t.Context(), "OTHER"); err != nil {
		t.Fatal(err)
	}
	await(t, http.StatusOK, http.StatusServiceUnavailable, func() reply { return w.ready(t) })
}

// TestNotReadyWhileItCloses, and alive until it has.
func TestNotReadyWhileItCloses(t *testing.T) {
	w := start(t, authsvctest.Config{})
	g := w.login(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL()+"/feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	res, err := http.DefaultClient.Do(req) // under way until the client leaves
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	closed := make(chan error, 1)
	go func() { closed <- w.Close() }()
	r := await(t, http.StatusServiceUnavailable, http.StatusOK, func() reply { return w.ready(t) })
	if !strings.Contains(r.body, "closing") {
		t.Errorf("it says %q", r.body)
	}
	if r := do(t, http.MethodGet, w.AdminURL()+"/healthz", ""); r.StatusCode != http.StatusOK {
		t.Errorf("healthz: %s", r.Status)
	}
	leave()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

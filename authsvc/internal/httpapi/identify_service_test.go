package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authbus/authbus/authsvc/internal/client"
)

// tokenPaths are the routes that services use.
var tokenPaths = []string{"/v1/introspect", "/v1/revoke"}

// TestWhoMayAsk tries every way to show, or not to show, who asks (RFC 6749 §2.3).
func TestWhoMayAsk(t *testing.T) {
	// Every try comes from a network of its own, so that none is throttled.
	w := newWorld(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	network := netip.MustParseAddr("198.51.100.1")
	root := w.admin(t)
	orders, dashed := addService(t, root, "orders"), addService(t, root, "legacy-shop")
	secret := orders.Secret.Reveal()
	basic := func(id, secret string) string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(id, secret)
		return r.Header.Get("Authorization")
	}
	for name, c := range map[string]struct {
		authorization string
		form          string
		status        int
		oauth         string
	}{
		"basic":                     {basic("orders", secret), "", 200, ""},
		"basic, encoded":            {basic("legacy%2Dshop", strings.ReplaceAll(url.QueryEscape(dashed.Secret.Reveal()), "_", "%5F")), "", 200, ""},
		"basic in another case":     {"bASIC" + basic("orders", secret)[5:], "", 200, ""},
		"basic and the same id":     {basic("orders", secret), "&client_id=orders", 200, ""},
		"post":                      {"", "&client_id=orders&client_secret=" + secret, 200, ""},
		"post with a hyphen":        {"", "&client_id=legacy-shop&client_secret=" + dashed.Secret.Reveal(), 200, ""},
		"nothing":                   {"", "", 401, "invalid_client"},
		"an id alone":               {"", "&client_id=orders", 401, "invalid_client"},
		"a secret alone":            {"", "&client_secret=" + secret, 401, "invalid_client"},
		"an empty secret":           {"", "&client_id=orders&client_secret=", 401, "invalid_client"},
		"post, wrong secret":        {"", "&client_id=orders&client_secret=x_wrong", 401, "invalid_client"},
		"post, unknown":             {"", "&client_id=nobody&client_secret=" + secret, 401, "invalid_client"},
		"post, somebody's secret":   {"", "&client_id=legacy-shop&client_secret=" + secret, 401, "invalid_client"},
		"basic, wrong secret":       {basic("orders", "x_wrong"), "", 401, "invalid_client"},
		"basic, unknown":            {basic("nobody", secret), "", 401, "invalid_client"},
		"basic, broken encoding":    {basic("%zz", secret), "", 401, "invalid_client"},
		"basic, NUL":                {basic("orders\x00", secret), "", 401, "invalid_client"},
		"basic, not base64":         {"Basic ???", "", 401, "invalid_client"},
		"basic, no colon":           {"Basic b3JkZXJz", "", 401, "invalid_client"},
		"bearer":                    {"Bearer " + secret, "", 401, "invalid_client"},
		"an assertion":              {"", "&client_id=orders&client_assertion=x&client_assertion_type=y", 401, "invalid_client"},
		"a token for oneself":       {"", "&access_token=x", 401, "invalid_client"},
		"basic and post":            {basic("orders", secret), "&client_id=orders&client_secret=" + secret, 400, "invalid_request"},
		"basic and an empty secret": {basic("orders", secret), "&client_secret=", 400, "invalid_request"},
		"bearer and post":           {"Bearer x", "&client_id=orders&client_secret=" + secret, 400, "invalid_request"},
		"post and an assertion":     {"", "&client_id=orders&client_secret=" + secret + "&client_assertion=x", 400, "invalid_request"},
		"basic and another id":      {basic("orders", secret), "&client_id=legacy-shop", 400, "invalid_request"},
		"two ids":                   {"", "&client_id=orders&client_id=orders&client_secret=" + secret, 400, "invalid_request"},
		"two secrets":               {"", "&client_id=orders&client_secret=x&client_secret=" + secret, 400, "invalid_request"},
	} {
		for _, path := range tokenPaths {
			t.Run(path+"/"+name, func(t *testing.T) {
				header := formHeader()
				network = network.Next()
				header.Set("X-Forwarded-For", network.String())
				if c.authorization != "" {
					header.Set("Authorization", c.authorization)
				}
				a := w.send(t, request{method: "POST", path: path, header: header, body: "token=x" + c.form})
				wantOAuth(t, a, c.status, c.oauth)
			})
		}
	}
}

// FuzzClientCredentials: whatever comes is one credential or none, and an id and
// secret that were encoded as RFC 6749 §2.3.1 has it are read as they were.
func FuzzClientCredentials(f *testing.F) {
	f.Add("orders", "x_secret", "Basic b3JkZXJzOng=", "token=x&client_id=orders&client_secret=x")
	f.Add("a b", "ä:%+", "Basic", "client_id=%zz")
	f.Add("", "", "bearer x", "client_secret=&client_secret=")
	f.Fuzz(func(t *testing.T, id, secret, authorization, body string) {
		r := &http.Request{Header: http.Header{"Authorization": {authorization}}}
		form, err := url.ParseQuery(body)
		if err != nil {
			form = url.Values{}
		}
		_, _, err = clientCredentials(r, form)
		if _, problem := errors.AsType[*problem](err); err != nil && !problem {
			t.Errorf("%v is no problem document", err)
		}
		if err == nil && form.Has("client_secret") == (authorization != "") {
			t.Error("two credentials were taken for one, or none")
		}
		encoded := &http.Request{Header: http.Header{}}
		encoded.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		gotID, gotSecret, err := clientCredentials(encoded, url.Values{"client_id": {id}})
		if err != nil || gotID != id || gotSecret != secret {
			t.Errorf("read %q %q, %v", gotID, gotSecret, err)
		}
		gotID, gotSecret, err = clientCredentials(&http.Request{}, url.Values{"client_id": {id}, "client_secret": {secret}})
		if err != nil || gotID != id || gotSecret != secret {
			t.Errorf("read %q %q, %v", gotID, gotSecret, err)
		}
	})
}

// wantOAuth holds a refusal against RFC 6749 §5.2.
func wantOAuth(t *testing.T, a answer, status int, name string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d %s, want %d", a.status, a.body, status)
	}
	if status == http.StatusOK {
		return
	}
	var doc struct {
		Error            string
		ErrorDescription string `json:"error_description"`
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Error != name {
		t.Errorf("got %s, want the error %s", a.body, name)
	}
	foreign := func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }
	if doc.ErrorDescription == "" || strings.ContainsFunc(doc.ErrorDescription, foreign) {
		t.Errorf("error_description %q", doc.ErrorDescription)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", a.header)
	}
	if challenge := a.header.Get("WWW-Authenticate"); strings.HasPrefix(challenge, "Basic ") != (status == 401) {
		t.Errorf("challenge %q", challenge)
	}
}

// TestTheFormOfARequest: RFC 7662 §2.1, RFC 7009 §2.1, RFC 6749 §3.2.
func TestTheFormOfARequest(t *testing.T) {
	w := newWorld(t)
	orders := addService(t, w.admin(t), "orders")
	header := func(contentType string) http.Header {
		r := http.Request{Header: http.Header{}}
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		r.SetBasicAuth(orders.ID, orders.Secret.Reveal())
		return r.Header
	}
	const form = "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		contentType, query, body string
		status                   int
	}{
		"as it should be":        {form, "", "token=x", 200},
		"with a charset":         {form + "; charset=UTF-8", "", "token=x", 200},
		"with a hint":            {form, "", "token=x&token_type_hint=access_token", 200},
		"with an unknown hint":   {form, "", "token=x&token_type_hint=%F0%9F%8D%AA", 200},
		"with an unknown extra":  {form, "", "token=x&extra=y", 200},
		"with an empty hint":     {form, "", "token=x&token_type_hint=", 200},
		"no token":               {form, "", "", 400},
		"an empty token":         {form, "", "token=", 400},
		"two tokens":             {form, "", "token=x&token=x", 400},
		"two hints":              {form, "", "token=x&token_type_hint=a&token_type_hint=b", 400},
		"two extras":             {form, "", "token=x&extra=a&extra=b", 400},
		"the token in the URL":   {form, "?token=x", "", 400},
		"a token in both places": {form, "?token=x", "token=x", 400},
		"an id in the URL":       {form, "?client_id=orders", "token=x", 400},
		"an access token in it":  {form, "?access_token=x", "token=x", 400},
		"a broken escape":        {form, "", "token=%zz", 400},
		"not UTF-8":              {form, "", "token=%ff", 400},
		"JSON":                   {"application/json", "", `{"token":"x"}`, 415},
		"JSON that pretends":     {form, "", `{"token":"x"}`, 400},
		"multipart":              {"multipart/form-data; boundary=x", "", "--x--", 415},
		"no media type":          {"", "", "token=x", 415},
		"another charset":        {form + "; charset=utf-16", "", "token=x", 415},
		"more than 64 KiB of it": {form, "", "token=" + strings.Repeat("x", 70_000), 413},
	} {
		for _, path := range tokenPaths {
			t.Run(path+"/"+name, func(t *testing.T) {
				a := w.send(t, request{method: "POST", path: path + c.query, header: header(c.contentType), body: c.body})
				wantOAuth(t, a, c.status, "invalid_request")
			})
		}
	}
	for _, path := range tokenPaths {
		twice := header(form)
		twice.Add("Authorization", twice.Get("Authorization"))
		wantOAuth(t, w.send(t, request{method: "POST", path: path, header: twice, body: "token=x"}), 400, "invalid_request")
		for _, method := range []string{"GET", "PUT", "DELETE", "PATCH"} {
			a := w.send(t, request{method: method, path: path + "?token=x", header: header(form)})
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
				t.Errorf("%s %s: got %d, Allow %q", method, path, a.status, a.header.Get("Allow"))
			}
		}
	}
}

func TestRevokingWhatIsNotOnesOwn(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	stranger := addService(t, root, "stranger")
	for _, token := range []string{ada.tokens.AccessToken, ada.tokens.RefreshToken} {
		wantOAuth(t, w.sendForm(t, "/v1/revoke", stranger, url.Values{"token": {token}}), 400, "invalid_grant")
	}
	if _, err := ada.Me(t.Context()); err != nil {
		t.Errorf("the token is dead: %v", err)
	}
}

// TestFailedTriesLookAlike: an unknown service and a wrong secret are answered
// alike, and after some of them there is a pause.
func TestFailedTriesLookAlike(t *testing.T) {
	w := newWorld(t)
	orders := addService(t, w.admin(t), "orders")
	form := url.Values{"token": {"x"}}
	same := func(a answer) string {
		return strings.ReplaceAll(a.body, a.problem.RequestID, "") + a.header.Get("WWW-Authenticate")
	}
	wrong := w.sendForm(t, "/v1/introspect", client.ServiceCredentials{ID: "orders", Secret: "x_wrong"}, form)
	unknown := w.sendForm(t, "/v1/introspect", client.ServiceCredentials{ID: "nobody", Secret: "x_wrong"}, form)
	if wrong.status != 401 || same(wrong) != same(unknown) {
		t.Errorf("a wrong secret: %s\nan unknown service: %s", wrong.body, unknown.body)
	}
	if logs := w.logs.String(); !strings.Contains(logs, `"msg":"service refused","id":"orders"`) || strings.Contains(logs, `"id":"nobody"`) {
		t.Error("the log must say which service's secret is wrong, and repeat no unknown id")
	}
	throttled := answer{}
	for range 20 {
		throttled = w.sendForm(t, "/v1/revoke", client.ServiceCredentials{ID: "nobody", Secret: "x_wrong"}, form)
		if throttled.status == http.StatusTooManyRequests {
			break
		}
	}
	wantOAuth(t, throttled, http.StatusTooManyRequests, "temporarily_unavailable")
	if throttled.header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	if a := w.sendForm(t, "/v1/introspect", orders, form); a.status != 200 {
		t.Errorf("the right secret meanwhile: %d %s", a.status, a.body)
	}
}

// TestUnavailable: without the database nothing is known, and that is what is said.
func TestUnavailable(t *testing.T) {
	w := newWorld(t)
	root, ada := w.admin(t), w.join(t, "ada")
	orders := addService(t, root, "orders")
	w.loseDatabase()
	for _, path := range tokenPaths {
		for _, token := range []string{ada.tokens.AccessToken, ada.tokens.RefreshToken, "nonsense"} {
			for _, s := range []client.ServiceCredentials{orders, {ID: "nobody", Secret: "x_wrong"}} {
				a := w.sendForm(t, path, s, url.Values{"token": {token}})
				wantOAuth(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
				if seconds, err := time.ParseDuration(a.header.Get("Retry-After") + "s"); err != nil || seconds <= 0 {
					t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
				}
			}
		}
	}
}

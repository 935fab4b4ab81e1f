// Package gateway is one address for clients, with the services hidden behind it:
// an opaque token outside, the JWT inside.
//
//	g, err := gateway.Start(ctx, gateway.Config{
//		Listen: "127.0.0.1:8000", Routes: "routes.yaml",
//		Auth: "https://auth.example.org", Issuer: issuer, NATS: nc,
//	})
//	defer g.Close()
//
// # What clients see
//
//	POST /login    {"login": …, "password": …}: the opaque token, as access_token
//	               with "cookie": true it comes as a cookie only, for browsers, and
//	               ends the session whose cookie the browser had before
//	POST /refresh  renews what is behind the token, which stays as it is
//	POST /logout   ends the session; answers as the auth service does
//
// and whatever the table of rules names (package routes). A request carries one
// credential: the token in Authorization, as Bearer, or the cookie. Two of them
// are refused, and so is a token in the query. The cookie is __Host-session: Secure,
// HttpOnly, SameSite=Lax. With it, requests that change something and WebSockets
// must come from the gateway's own origin ([http.CrossOriginProtection]).
//
// No service gets to see the token. A request that has one elsewhere in its path,
// query or header is refused (400 token_misplaced), on public paths too. Bodies are
// not looked at: a client that writes its token into one gives it away.
//
// JWT and refresh token never leave the gateway and the services behind it. The
// gateway refreshes by itself when three quarters of the JWT's life are over, once
// for all requests that wait for it. Refresh never changes the opaque token: it is
// worth nothing the moment its session is revoked, so there is no need to.
//
// # How a request is decided
//
// Path, then rule, then credential, then the session behind it (package vault),
// then the JWT by the gateway's own verifier, then the rule's audience, scopes and
// roles; package proxy carries it. So a revocation ends the opaque token exactly
// as fast as the JWT, by the same bound, on every replica. It also ends what is
// under way: the answer is cut off and a WebSocket closed, also in the one session that
// "log out everywhere else" leaves: its client connects again. The end of a JWT's life
// ends nothing while the session lives: the gateway refreshes and goes on, and so it does
// when the key of a JWT is killed, if it gets another JWT within the bound. But it has no
// way to bring the next JWT to a service on a stream that is open: one that watches the
// JWT itself (verifier.Watch) ends the stream with it, and the client opens another.
//
// Sessions are in memory too, for as long as their JWT lives. A revocation removes
// those that it names from there, and one of a session removes it from the vault. What
// nobody knows is gone with the next request at the latest, and otherwise expires.
//
// A revocation of a single JWT ends the opaque token if the gateway is shown the
// token while that JWT is in use; a later one belongs to the session.
//
// An upstream at the gateway's own address is a mistake in the rules. Where that
// cannot be seen, because of names or what lies between, a request that comes back
// is refused (508 loop_detected).
//
// # Who the gateway talks to
//
// With [Config.Identity] every hop is mutual TLS: the auth service must prove to be
// authsvc, an upstream with a SPIFFE id to be that service, and both learn that the
// gateway is the gateway. A service whose certificate is revoked loses what is under
// way to it, as fast as a session would. An upstream without a SPIFFE id is reached as
// its URL says.
//
// # When something fails
//
// The bus away: sessions that this replica knows go on while its verifier is
// fresh; then, and for others, 503. The auth service away: sessions and streams go on
// until their JWT ends, then 503; no logins. What cannot be decided is never a 401.
//
// The bucket lost, with its stream or the brokers' store: it is made again within seconds,
// without a restart, and the log says so. 503 until then, and 401 from then on for the
// sessions that were in it; one that a replica knows ends there when its JWT is due. An
// entry that its token does not open never will be: 401 as well, a line in the log, and
// the entry stays until it expires.
//
// A refresh token works once, and one that is shown again after the auth service's
// grace (10 s) ends the session, as a stolen one. Replicas that refresh at once both
// get the same next one. An answer that was lost is asked for again within the grace,
// and what the vault does not take is kept in memory and written until it does. A
// gateway that is killed between a refresh and its write loses the session, unless the
// client comes to another one within the grace.
//
// # Under attack
//
// Of each network the gateway looks up 50 tokens a second that nobody knows, after a
// burst of 200, and answers more with 503; sessions do not count. 128 look into the
// vault at once. Logins are limited by the auth service, for each client.
//
// # What it costs
//
// One hop more: go test -run '^$' -bench Gateway ./authsvc/internal/gateway compares.
//
// # Not done
//
// The services get the JWT that the login gave, for all its audiences: a service
// can present it to another one of them. One JWT for each service needs an
// exchange (RFC 8693) that the auth service does not have.
package gateway

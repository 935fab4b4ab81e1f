// Package proxy carries requests from the gateway to services, and answers back.
// It decides nothing about who may ask: whoever calls [Proxy.Serve] has.
//
//	p, err := proxy.New(proxy.Config{Cookie: "__Host-session", Logger: log})
//	defer p.Close()
//	file, err := routes.Open("routes.yaml", log, p.Use) // before each table comes into force
//	...
//	p.Serve(w, r, rule, &proxy.Identity{Bearer: jwt, Client: claims.Subject})
package proxy

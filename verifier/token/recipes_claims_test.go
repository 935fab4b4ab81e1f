package token

import (
	"slices"
	"strings"
)

// sort puts what came from maps into one order.
func (l *list) sort() {
	slices.SortStableFunc(*l, func(a, b vector) int {
		return strings.Compare(a.Class+"/"+a.Title, b.Class+"/"+b.Title)
	})
}

// claims holds validly signed tokens that only the look at the claims can stop.
func (f forge) claims() []vector {
	var l list
	f.claimsJSON(&l)
	f.types(&l)
	f.issuerAndAudience(&l)
	f.times(&l)
	f.otherUse(&l)
	return l
}

func (f forge) claimsJSON(l *list) {
	good := body()
	for title, payload := range map[string]string{
		"array": "[" + good + "]", "string": `"x"`, "null": "null", "number": "1", "text": "hello", "two objects": good + good, "letters behind": good + "x",
		"NUL behind": good + "\x00", "byte order mark": "\ufeff" + good, "UTF-16": "{\x00\"\x00}\x00", "not UTF-8": body(set("sub", "\"\xff\"")),
		"overlong UTF-8": body(set("sub", "\"\xc0\x80\"")), "encoded surrogate": body(set("sub", "\"\xed\xa0\x80\"")),
		"comma at the end": good[:len(good)-1] + ",}", "comment": good[:1] + "/**/" + good[1:], "single quotes": strings.ReplaceAll(good, `"`, "'"),
		"open": good[:len(good)-1], "lone surrogate": body(set("sub", `"\ud800"`)), "low surrogate first": body(set("sub", `"\udc00\ud800"`)),
		"surrogate and letter": body(set("sub", `"\ud800\u0041"`)), "unknown escape": body(set("sub", `"\x41"`)), "short escape": body(add("x", `"\u12"`)),
		"control character": body(set("sub", "\"a\nb\"")), "leading zero": body(set("rev", "07")), "leading plus": body(set("rev", "+7")),
		"hexadecimal": body(set("rev", "0x7")), "NaN": body(set("rev", "NaN")), "infinity": body(set("rev", "-Infinity")), "minus alone": body(set("rev", "-")),
		"number no float can hold": body(add("x", "1e309")), "400 digits": body(add("x", strings.Repeat("9", 400))), "True": body(add("x", "True")),
		"no-break space": "\u00a0" + good, "129 members": body(addMany(117)),
		"129 members in many objects": body(add("x", "["+strings.Repeat(`{"a":1},`, 115)+`{"a":1}]`)),
	} {
		l.reject("json_claims", title, ReasonBadClaims, f.signed(edID, f.header(edID), payload))
	}
	l.reject("json_claims", "nested 33 deep", ReasonTooDeep, f.withClaims(add("x", strings.Repeat("[", 32)+strings.Repeat("]", 32))))
	l.reject("json_claims", "objects nested 33 deep", ReasonTooDeep, f.withClaims(add("x", strings.Repeat(`{"a":`, 32)+"1"+strings.Repeat("}", 32))))
	l.reject("json_claims", "nested 5,000 deep", ReasonTooDeep, f.withClaims(add("x", strings.Repeat("[", 5000))))
	l.reject("duplicate_claim", "sub", ReasonDuplicateMember, f.withClaims(add("sub", `"admin"`)))
	l.reject("duplicate_claim", "exp, equal", ReasonDuplicateMember, f.withClaims(add("exp", "1798761900")))
	l.reject("duplicate_claim", "escaped", ReasonDuplicateMember, f.withClaims(add(`su\u0062`, `"admin"`)))
	l.reject("duplicate_claim", "escaped first", ReasonDuplicateMember, f.withClaims(rename("sub", `su\u0062`), add("sub", `"admin"`)))
	l.reject("duplicate_claim", "in an unknown claim", ReasonDuplicateMember, f.withClaims(add("x", `[{"a":{"b":1,"b":1}}]`)))
	l.reject("duplicate_claim", "empty name", ReasonDuplicateMember, f.withClaims(add("", "1"), add("", "1")))
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "jti"} {
		l.reject("case_variant_claim", strings.ToUpper(name), ReasonMissingClaim, f.withClaims(rename(name, strings.ToUpper(name))))
		l.reject("case_variant_claim", "space behind "+name, ReasonMissingClaim, f.withClaims(rename(name, name+" ")))
	}
	l.reject("case_variant_claim", "past exp beside a good EXP", ReasonExpired, f.withClaims(set("exp", "1798761580"), add("EXP", "1798761900")))
	l.sort()
}

func (f forge) types(l *list) {
	wrong := map[string]string{"null": "null", "true": "true", "object": "{}", "array": "[1]"}
	for _, name := range []string{"iss", "sub", "jti", "sid", "client_id", "scope", "aud", "roles", "exp", "iat", "nbf", "auth_time", "rev", "token_use"} {
		for title, value := range wrong {
			l.reject("claim_type", name+" "+title, ReasonBadClaimType, f.withClaims(set(name, value)))
		}
	}
	for _, name := range []string{"iss", "sub", "jti", "sid", "client_id", "scope"} {
		l.reject("claim_type", name+" number", ReasonBadClaimType, f.withClaims(set(name, "1")))
	}
	for _, name := range []string{"exp", "iat", "nbf", "auth_time", "rev"} {
		for title, value := range map[string]string{
			"string": `"1798761600"`, "fraction": "1798761600.0", "half": "1798761600.5", "exponent": "1798761600e0", "small exponent": "17987616E2",
			"negative": "-1", "minus zero": "-0", "2^53": "9007199254740992", "2^63": "9223372036854775808", "2^64": "18446744073709551616", "2^64 and a good time": "18446744075508313216",
			"300 digits": strings.Repeat("9", 300),
		} {
			l.reject("claim_type", name+" "+title, ReasonBadClaimType, f.withClaims(set(name, value)))
		}
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "jti"} {
		l.reject("missing_claim", name, ReasonMissingClaim, f.withClaims(drop(name)))
	}
	for _, name := range []string{"iss", "sub", "jti", "sid", "client_id"} {
		l.reject("missing_claim", name+" empty", ReasonMissingClaim, f.withClaims(set(name, `""`)))
	}
	l.reject("missing_claim", "all", ReasonMissingClaim, f.signed(edID, f.header(edID), "{}"))
	for _, name := range []string{"sub", "jti", "sid", "client_id"} {
		l.reject("claim_size", name+" of 257 bytes", ReasonBadClaimType, f.withClaims(set(name, quote(strings.Repeat("é", 128)+"x"))))
	}
	l.sort()
}

func (f forge) issuerAndAudience(l *list) {
	for _, iss := range []string{
		vectorIssuer + "/", strings.ToUpper(vectorIssuer), "http://auth.test.example", "https://auth.test.example.evil.example", "https://auth.test.example:443",
		"auth.test.example", vectorIssuer + " ", vectorIssuer + "\x00", "https://evil.example",
	} {
		l.reject("iss", quote(iss), ReasonBadIssuer, f.withClaims(set("iss", quote(iss))))
	}
	for title, aud := range map[string]string{
		"another": `"billing"`, "upper case": `"ORDERS"`, "prefix": `"order"`, "longer": `"orders2"`, "empty": `""`, "empty array": "[]", "array of others": `["billing","Orders"]`,
		"array of empty": `[""]`, "space behind": `"orders "`, "list in a string": `"billing orders"`, "wildcard": `"*"`, "the issuer": quote(vectorIssuer),
	} {
		l.reject("aud", title, ReasonBadAudience, f.withClaims(set("aud", aud)))
	}
	for title, aud := range map[string]string{"nested array": `[["orders"]]`, "mixed array": `["orders",1]`, "null in array": `["orders",null]`, "object": `{"orders":true}`} {
		l.reject("aud", title, ReasonBadClaimType, f.withClaims(set("aud", aud)))
	}
	l.reject("roles", "a string", ReasonBadClaimType, f.withClaims(set("roles", `"admin"`)))
	l.reject("roles", "mixed array", ReasonBadClaimType, f.withClaims(set("roles", `["clerk",{"x":1}]`)))
	l.reject("scope", "an array", ReasonBadClaimType, f.withClaims(set("scope", `["orders:read"]`)))
	l.sort()
}

func (f forge) times(l *list) {
	l.reject("exp", "now, with the leeway used up", ReasonExpired, f.withClaims(set("exp", "1798761590")))
	l.reject("exp", "61 s ago", ReasonExpired, f.withClaims(set("exp", "1798761539"), set("iat", "1798761500")))
	l.reject("exp", "0", ReasonExpired, f.withClaims(set("exp", "0")))
	l.reject("exp", "in milliseconds", ReasonLifetimeTooLong, f.withClaims(set("exp", "1798761900000")))
	l.reject("exp", "2^53-1", ReasonLifetimeTooLong, f.withClaims(set("exp", "9007199254740991")))
	l.reject("lifetime", "3601 s", ReasonLifetimeTooLong, f.withClaims(set("exp", "1798765171")))
	l.reject("lifetime", "iat of 1970", ReasonLifetimeTooLong, f.withClaims(set("iat", "0")))
	l.reject("lifetime", "none", ReasonBadClaims, f.withClaims(set("exp", "1798761600"), set("iat", "1798761600")))
	l.reject("lifetime", "negative", ReasonBadClaims, f.withClaims(set("exp", "1798761599"), set("iat", "1798761601")))
	l.reject("nbf", "in 11 s", ReasonNotYetValid, f.withClaims(add("nbf", "1798761611")))
	l.reject("nbf", "in 61 s", ReasonNotYetValid, f.withClaims(add("nbf", "1798761661")))
	l.reject("nbf", "2^53-1", ReasonNotYetValid, f.withClaims(add("nbf", "9007199254740991")))
	l.reject("iat", "in 11 s", ReasonIssuedInFuture, f.withClaims(set("iat", "1798761611")))
	l.reject("iat", "in 61 s", ReasonIssuedInFuture, f.withClaims(set("iat", "1798761661")))
	l.reject("iat", "after exp", ReasonIssuedInFuture, f.withClaims(set("iat", "1798762000")))
	l.reject("iat", "2^53-1", ReasonIssuedInFuture, f.withClaims(set("iat", "9007199254740991")))
}

// otherUse holds tokens of other kinds that were given the right typ.
func (f forge) otherUse(l *list) {
	l.reject("token_use", "refresh", ReasonWrongTokenUse, f.withClaims(add("token_use", `"refresh"`)))
	l.reject("token_use", "id", ReasonWrongTokenUse, f.withClaims(add("token_use", `"id"`)))
	l.reject("token_use", "empty", ReasonWrongTokenUse, f.withClaims(add("token_use", `""`)))
	l.reject("token_use", "logout token", ReasonWrongTokenUse,
		f.withClaims(add("events", `{"http://schemas.openid.net/event/backchannel-logout":{}}`)))
	l.reject("token_use", "ID token with nonce", ReasonWrongTokenUse, f.withClaims(add("nonce", `"n"`)))
	l.reject("token_use", "ID token with at_hash", ReasonWrongTokenUse, f.withClaims(add("at_hash", `"h"`)))
	l.reject("token_use", "ID token with c_hash", ReasonWrongTokenUse, f.withClaims(add("c_hash", `"h"`)))
}

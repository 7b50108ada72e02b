package netmap

import "encoding/json"

// Encode writes a network and a problem as docs/netmap.md describes it, for Decode to read.
func Encode(n Network, p Problem) ([]byte, error) {
	type node struct {
		ID    string  `json:"id"`
		Relay bool    `json:"relay,omitempty"`
		Up    float64 `json:"up,omitempty"`
		Down  float64 `json:"down,omitempty"`
		Site  string  `json:"site,omitempty"`
	}
	type site struct {
		ID   string  `json:"id"`
		Up   float64 `json:"up,omitempty"`
		Down float64 `json:"down,omitempty"`
	}
	type edge struct {
		From string  `json:"from"`
		To   string  `json:"to"`
		Cost float64 `json:"cost"`
		Rate float64 `json:"rate,omitempty"`
		RTT  float64 `json:"rtt,omitempty"`
	}
	out := struct {
		Schema    int       `json:"schema"`
		Nodes     []node    `json:"nodes"`
		Sites     []site    `json:"sites,omitempty"`
		Edges     []edge    `json:"edges"`
		Holders   []string  `json:"holders"`
		Wanters   []string  `json:"wanters"`
		Objective Objective `json:"objective"`
		Size      int64     `json:"size"`
	}{
		Schema: 1, Nodes: []node{}, Edges: []edge{},
		Holders: append([]string{}, p.Holders...), Wanters: append([]string{}, p.Wanters...), Objective: p.Objective, Size: p.Size,
	}
	for _, v := range n.Nodes {
		out.Nodes = append(out.Nodes, node(v))
	}
	for _, s := range n.Sites {
		out.Sites = append(out.Sites, site(s))
	}
	for _, e := range n.Edges {
		out.Edges = append(out.Edges, edge(e))
	}
	return json.Marshal(out)
}

// Package netmap plans how a content travels from the clones that hold it to those that want it: along a directed tree of
// the network, so that no link carries the content twice.
//
// It owns the map (nodes, sites, directed edges with a cost, a rate and a round trip), the two objectives and the trees that
// are best for them, the prediction of how long a tree takes, and pictures of a tree. Everything in it is a pure function
// of its arguments: agents that have the same map make the same plan without talking, on whatever processor, and in
// whatever order the map was told them.
//
// It measures nothing, knows no repository and moves no byte, starts no goroutine, and reads no file and no clock.
//
// The file format, the model and the algorithms are described in docs/netmap.md.
package netmap

# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Markdown as a tree of elements that a page makes one by one: HTML in it stays text, and nothing is loaded."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

_BLOCKS = ("h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "li", "pre", "blockquote", "hr")
_TABLES = ("table", "thead", "tbody", "tr", "th", "td")
_TAGS = frozenset({*_BLOCKS, *_TABLES, "strong", "em", "s", "code", "br"})
_SCHEMES = frozenset({"http", "https", "mailto"})

Element = str | dict[str, Any]
"""a text, or ``{"tag": "p", "children": [...]}``; links have an ``href``"""


def markdown_elements(text: str) -> list[Element]:
    """The elements of a document. An image is its description in words: a picture may be on another server."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return _children(SyntaxTreeNode(parser.parse(text)))


def _children(node: SyntaxTreeNode) -> list[Element]:
    return [element for child in node.children for element in _elements(child)]


def _elements(node: SyntaxTreeNode) -> list[Element]:
    kind = node.type
    if kind == "text":
        return [node.content]
    if kind in ("softbreak", "inline"):
        return ["\n"] if kind == "softbreak" else _children(node)
    if kind == "image":
        return [f"[picture: {node.content or node.attrs.get('src', '')}]"]
    if kind in ("fence", "code_block"):
        return [{"tag": "pre", "children": [node.content]}]
    if kind == "code_inline":
        return [{"tag": "code", "children": [node.content]}]
    if kind == "link":
        return [_link(node)]
    if node.tag in _TAGS:
        return [{"tag": node.tag, "children": _children(node)}]
    return _children(node)


def _link(node: SyntaxTreeNode) -> Element:
    href = str(node.attrs.get("href", ""))
    try:
        is_web = urlsplit(href).scheme in _SCHEMES
    except ValueError:
        is_web = False
    if not is_web:
        return {"tag": "span", "children": _children(node)}
    return {"tag": "a", "href": href, "children": _children(node)}

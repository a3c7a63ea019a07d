#compdef dv
# Completion of dv for zsh; loaded from a file of functions, or sourced.
_dv() {
    local -a answer values shown
    local line
    answer=("${(@f)$(_DV_COMPLETE=zsh "${(Q)words[1]}" -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    case $answer[1] in
        files) _files; return ;;
        folders) _files -/; return ;;
    esac
    for line in "${(@)answer[2,-1]}"; do
        values+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  -- }")
    done
    (( $#values )) && compadd -l -V dv -d shown -a values
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
if [[ $funcstack[1] == _dv ]]; then
    _dv "$@"
else
    compdef _dv dv
fi

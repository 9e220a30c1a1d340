# Stock clients, unchanged, against a broker on the file store. Debian's packages of them belong to the system's Python.
foreach(client kafka_python librdkafka groups)
  add_test(NAME clients.${client} COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/${client}.py $<TARGET_FILE:floe>)
  set_tests_properties(clients.${client} PROPERTIES LABELS clients TIMEOUT 180)
endforeach()
# Clients that Debian does not have; scripts/test matrix installs them.
foreach(client groups_consumer)
  add_test(NAME matrix.${client} COMMAND ${CMAKE_BINARY_DIR}/matrix-venv/bin/python -B ${CMAKE_CURRENT_LIST_DIR}/${client}.py
    $<TARGET_FILE:floe>)
  set_tests_properties(matrix.${client} PROPERTIES LABELS matrix TIMEOUT 240)
endforeach()
